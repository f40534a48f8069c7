"""Channel-wise knowledge distillation (Shu et al., ICCV 2021): where is each channel active?

::

    phi(y_c)_i = exp(y_ci / T) / sum_j exp(y_cj / T)           over the cells of a map (section 3.2)
    L          = T^2 / C  sum_c KL(phi(y_c^T) || phi(y_c^S))

averaged over images and summed over levels. The distributions exclude cells in the padding, which
the paper does not mention.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from icd.methods.tokens import Targets, full_precision, valid_levels


class CWD(nn.Module):
    """Divergence of the student's channels from the teacher's, each a distribution over cells.

    The method has no parameters of its own.

    Args:
        weight: Weight of the loss; the default is the authors' for RetinaNet on COCO.
        temperature: Temperature T that flattens the distributions; default as for the weight.
    """

    distils = "all_but_coarsest"  # levels, unless an option states others; as its authors do

    def __init__(
        self,
        weight: Annotated[float, Ge(0)] = 5.0,
        temperature: Annotated[float, Gt(0)] = 1.0,
    ) -> None:
        super().__init__()
        self.weight, self.temperature = weight, temperature

    def forward(
        self,
        teacher: Sequence[Tensor],
        student: Sequence[Tensor],
        targets: Targets,
        iteration: int,
    ) -> dict[str, Tensor]:
        """The divergence of one batch; arguments as of :class:`icd.methods.icd.method.ICD`."""
        losses = []
        valid_cells = valid_levels(teacher, targets)
        for target, level, valid in zip(teacher, student, valid_cells, strict=True):
            log_teacher = log_distribution(target.detach(), valid, self.temperature)
            log_student = log_distribution(level, valid, self.temperature)
            gap = (log_teacher - log_student).where(valid[:, None], 0)
            divergence = (log_teacher.exp() * gap).sum(dim=-1)
            losses.append(self.temperature**2 * divergence.mean())
        return {"loss_distillation": self.weight * torch.stack(losses).sum()}


def log_distribution(level: Tensor, valid: Tensor, temperature: float) -> Tensor:
    """Log softmax of each channel of a level [N, C, h, w] over cells ``valid`` [N, h * w].

    Returns:
        [N, C, h * w]; minus infinity in the padding.
    """
    logits = full_precision(level).flatten(2) / temperature
    return logits.masked_fill(~valid[:, None], -torch.inf).log_softmax(dim=-1)
