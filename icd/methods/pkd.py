"""PKD, distillation by Pearson correlation (Cao et al., NeurIPS 2022): shapes, not magnitudes.

::

    s_hat, t_hat = each channel with mean 0 and variance 1 over the m cells of a batch
    L            = 1 / 2m  sum (s_hat - t_hat)^2 = 1 - r(s, t)        section 3.3

averaged over channels and summed over levels. Statistics and sum exclude cells in the padding,
which the paper does not mention.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from icd.methods.tokens import Targets, full_precision, valid_levels

EPSILON = 1e-6  # added to variances, because channels may be constant (as on a level of one cell)


class PKD(nn.Module):
    """One minus the correlation of student and teacher, channel by channel.

    The method has no parameters of its own.

    Args:
        weight: Weight of the loss; the default is the authors' for RetinaNet (Faster R-CNN: 6).
    """

    distils = "all_but_coarsest"  # levels, unless an option states others; as its authors do

    def __init__(self, weight: Annotated[float, Ge(0)] = 10.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(
        self,
        teacher: Sequence[Tensor],
        student: Sequence[Tensor],
        targets: Targets,
        iteration: int,
    ) -> dict[str, Tensor]:
        """The loss of one batch; arguments as of :class:`icd.methods.icd.method.ICD`."""
        losses = []
        valid_cells = valid_levels(teacher, targets)
        for target, level, valid in zip(teacher, student, valid_cells, strict=True):
            gap = standardise(level, valid) - standardise(target.detach(), valid)
            losses.append(mean_of(gap.square(), valid).mean() / 2)
        return {"loss_distillation": self.weight * torch.stack(losses).sum()}


def standardise(level: Tensor, valid: Tensor) -> Tensor:
    """A level [N, C, h, w] as [N, C, h * w], each channel with mean 0 and variance 1 over a batch.

    Cells that are not ``valid`` [N, h * w] count in neither and are zero. (Selecting the others
    would wait for the device, because their number decides the shape of the result.)
    """
    inside = valid[:, None]
    cells = full_precision(level).flatten(2)
    centred = (cells - mean_of(cells.where(inside, 0), valid)[:, None]).where(inside, 0)
    return centred * (mean_of(centred.square(), valid) + EPSILON).rsqrt()[:, None]


def mean_of(cells: Tensor, valid: Tensor) -> Tensor:
    """[C], the mean over valid cells of all images; cells [N, C, L] that are not valid are zero."""
    return cells.sum(dim=(0, 2)) / valid.sum()
