"""Several methods at once: their losses are added."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from icd.errors import InputError
from icd.methods.tokens import Targets

Inputs = tuple[list[Tensor], list[Tensor], Targets]  # levels of teacher and student, ground truth


class Combined(nn.Module):
    """The losses of several methods, each with the name of its method: ``icd.loss_distillation``.

    Args:
        parts: the methods by name.
        strides: those of the levels that each method distils, by the same names.

    Raises:
        InputError: a method has a name that PyTorch does not allow here.
    """

    def __init__(
        self, parts: Mapping[str, nn.Module], strides: Mapping[str, Sequence[int]]
    ) -> None:
        super().__init__()
        for name in parts:
            if hasattr(nn.ModuleDict, name):
                problem = "is an attribute of torch.nn.ModuleDict, so it cannot be combined"
                raise InputError("methods", name, problem, "another name for the method")
        self.parts = nn.ModuleDict(parts)
        self.strides = {name: [*own] for name, own in strides.items()}

    def forward(
        self,
        teacher: Sequence[Tensor],
        student: Sequence[Tensor],
        targets: Targets,
        iteration: int,
        predictions: Mapping[str, Any] | None = None,
    ) -> dict[str, Tensor]:
        """All losses of one batch; arguments as of :class:`icd.methods.icd.method.ICD`.

        ``predictions``: those of the heads, by the name of each method that asks for them.
        """
        losses: dict[str, Tensor] = {}
        for name, part in self.parts.items():
            given: list[Any] = [*self.inputs_of(name, teacher, student, targets), iteration]
            if predictions and name in predictions:
                given.append(predictions[name])
            losses |= {f"{name}.{key}": value for key, value in part(*given).items()}
        return losses

    def inputs_of(
        self, name: str, teacher: Sequence[Tensor], student: Sequence[Tensor], targets: Targets
    ) -> Inputs:
        """What one method sees of the levels that both pyramids have."""
        places = [i for i, s in enumerate(targets.strides) if s in self.strides[name]]
        theirs, ours = ([pyramid[i] for i in places] for pyramid in (teacher, student))
        return theirs, ours, self.targets_of(name, targets)

    def targets_of(self, name: str, targets: Targets) -> Targets:
        """The ground truth for the levels of one method."""
        own = [stride for stride in targets.strides if stride in self.strides[name]]
        return replace(targets, strides=own)

    def count(self, targets: Targets, assignments: Mapping[str, Any] | None = None) -> None:
        """Ask for the counts of each method in turn (see :mod:`icd.methods.shares`).

        ``assignments``: those of the student's loss, by the name of each method that asks for
        predictions.
        """
        for name, part in self.parts.items():
            count: Callable[..., None] | None = getattr(part, "count", None)
            if count:
                known = [assignments[name]] if assignments and name in assignments else []
                count(self.targets_of(name, targets), *known)

    def decoder_parts(self) -> nn.ModuleDict:
        """The decoder that can be trained alone, of the one method that has such a decoder."""
        parts: list[Any] = list(self.parts.values())
        able = next(part for part in parts if hasattr(part, "decoder_parts"))
        decoder: nn.ModuleDict = able.decoder_parts()
        return decoder


def named_parts(method: nn.Module) -> dict[str, nn.Module]:
    """A method as ``method``, or those of a combination as ``method.icd`` and so on."""
    if isinstance(method, Combined):
        return {f"method.{name}": part for name, part in method.parts.items()}
    return {"method": method}


def part_of(
    method: nn.Module,
    kind: type[nn.Module],
    teacher: Sequence[Tensor],
    student: Sequence[Tensor],
    targets: Targets,
) -> tuple[Any, Inputs] | None:
    """The method of a class, alone or in a combination, and what it sees; None if there is none."""
    if isinstance(method, kind):
        return method, ([*teacher], [*student], targets)
    if isinstance(method, Combined):
        for name, part in method.parts.items():
            if isinstance(part, kind):
                return part, method.inputs_of(name, teacher, student, targets)
    return None
