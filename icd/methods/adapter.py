"""Adapts a student's pyramid to the teacher's width, for methods that need equal widths."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from icd.methods.tokens import Targets


class Adapted(nn.Module):
    """Applies a 1x1 convolution to each student level before a method, as in CWD, MGD and FGD.

    The convolutions learn with the method and are dropped with it.

    Args:
        method: the method.
        student: width of the student's feature pyramid.
        teacher: width of the teacher's.
        levels: number of levels of each.
    """

    def __init__(self, method: nn.Module, student: int, teacher: int, levels: int) -> None:
        super().__init__()
        self.method = method
        self.adapters = nn.ModuleList(nn.Conv2d(student, teacher, 1) for _ in range(levels))

    def forward(
        self,
        teacher: Sequence[Tensor],
        student: Sequence[Tensor],
        targets: Targets,
        iteration: int,
    ) -> dict[str, Tensor]:
        """The losses of the method; arguments as of :class:`icd.methods.icd.method.ICD`."""
        adapted = [adapt(level) for adapt, level in zip(self.adapters, student, strict=True)]
        return self.method(teacher, adapted, targets, iteration)
