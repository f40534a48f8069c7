"""A student whose pyramid has another width, for methods that compare equal ones."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from icd.methods.tokens import Targets


class Adapted(nn.Module):
    """A method that sees the student through a 1x1 convolution a level, as in CWD, MGD and FGD.

    The convolutions learn with the method and are dropped with it.

    Args:
        method: the method.
        student, teacher: width of each feature pyramid.
        levels: number of their levels.
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
