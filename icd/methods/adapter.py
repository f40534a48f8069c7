"""Adapts a student's pyramid to the teacher's width, for methods that need equal widths."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from icd.methods.tokens import Targets


class Adapted(nn.Module):
    """Applies a 1x1 convolution to each student level before a method, as in CWD, MGD and FGD.

    The convolutions learn with the method and are dropped with it.

    Args:
        method: the method.
        student: width of each level of the student's feature pyramid.
        teacher: of each level of the teacher's.
        channels: width in which the method sees the teacher's levels; narrow ones are filled with
            channels of zeros, and so is what the convolutions make.
    """

    def __init__(
        self, method: nn.Module, student: Sequence[int], teacher: Sequence[int], channels: int
    ) -> None:
        super().__init__()
        self.method, self.channels = method, channels
        self.adapters = nn.ModuleList(
            nn.Conv2d(own, other, 1) for own, other in zip(student, teacher, strict=True)
        )

    def forward(
        self,
        teacher: Sequence[Tensor],
        student: Sequence[Tensor],
        targets: Targets,
        iteration: int,
    ) -> dict[str, Tensor]:
        """The losses of the method; arguments as of :class:`icd.methods.icd.method.ICD`."""
        adapted = [
            self.adapt(convolution, level)
            for convolution, level in zip(self.adapters, student, strict=True)
        ]
        return self.method(teacher, adapted, targets, iteration)

    def adapt(self, convolution: nn.Module, level: Tensor) -> Tensor:
        """A level of the student with the teacher's channels; those of zeros stay zeros."""
        assert isinstance(convolution, nn.Conv2d)
        if level.shape[1] > convolution.in_channels:
            level = level[:, : convolution.in_channels]
        adapted: Tensor = convolution(level)
        return with_channels(adapted, self.channels)


def with_channels(level: Tensor, channels: int) -> Tensor:
    """A level [N, C, h, w] with the channels that it lacks, of zeros; as it is if none."""
    lacking = channels - level.shape[1]
    return F.pad(level, (0, 0, 0, 0, 0, lacking)) if lacking else level
