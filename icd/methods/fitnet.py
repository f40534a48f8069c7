"""FitNet (Romero et al., ICLR 2015) on feature pyramids: plain imitation of the features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from icd.methods.tokens import P3_P7, Targets, flatten_levels, full_precision, valid_levels


class FitNet(nn.Module):
    """Squared error between the teacher's FPN and the student's after a 1x1 convolution per level.

    The convolutions (the paper's regressor) learn from this loss and are dropped after training.

    Args:
        channels: Given by the trainer: width C of the teacher's feature pyramid.
        strides: Given by the trainer: those of the levels.
        weight: Weight of the loss. The paper states none; the default comes from small trials.
        student_channels: Given by the trainer: width of the student's pyramid, if it differs.
    """

    learns = True  # has parameters of its own

    def __init__(
        self,
        channels: int = 256,
        strides: Sequence[int] = P3_P7,
        weight: Annotated[float, Ge(0)] = 20.0,
        student_channels: int | None = None,
    ) -> None:
        super().__init__()
        own = student_channels or channels
        self.adapters = nn.ModuleList(nn.Conv2d(own, channels, 1) for _ in strides)
        self.weight = weight

    def forward(
        self,
        teacher: Sequence[Tensor],
        student: Sequence[Tensor],
        targets: Targets,
        iteration: int,
    ) -> dict[str, Tensor]:
        """The imitation loss of one batch; arguments as of :class:`icd.methods.icd.method.ICD`."""
        adapted = [adapt(level) for adapt, level in zip(self.adapters, student, strict=True)]
        valid = torch.cat(list(valid_levels(teacher, targets)), dim=1)
        loss = token_error(flatten_levels(adapted), flatten_levels(teacher), valid)
        return {"loss_distillation": self.weight * loss}


def token_error(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Mean squared error of features [N, L, C] over tokens ``valid`` [N, L], then over images."""
    error = (full_precision(student) - full_precision(teacher.detach())).square().mean(dim=-1)
    per_image = error.where(valid, 0).sum(dim=1) / valid.sum(dim=1).clamp(min=1)
    return per_image.mean()
