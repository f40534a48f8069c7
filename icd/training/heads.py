"""Reads what mmdet's heads predict, for methods that ask for it (:mod:`icd.methods.predictions`).

The student's predictions and its assignment of objects are seen while it computes its own loss, so
nothing of it is computed twice. A class of this module for each kind of heads. Another kind needs
the same three methods, and an entry in :data:`KINDS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from icd.errors import InputError
from icd.methods.combination import Combined
from icd.methods.predictions import Assignment, Dense, DensePredictions, TowerPredictions
from icd.training.dense_head import DenseHead, HeadTargets, dense_head
from icd.training.pyramid import CommonLevels
from icd.training.query_heads import QueryHeads
from icd.training.teacher import Teacher

TOWERS = ("cls_convs", "reg_convs")  # of classification and localisation, as mmdet names them


class Heads(Protocol):
    """The heads of student and teacher, as a method sees them.

    Args:
        student: the detector.
        teacher: the frozen one.
        levels: those that the method distils.

    Raises:
        InputError: the detectors have other heads.
    """

    def __init__(self, student: nn.Module, teacher: Teacher, levels: CommonLevels) -> None: ...

    def watch(self) -> AbstractContextManager[Any]:
        """While the student computes its loss within the block, collect what :meth:`read` needs."""

    def read(
        self, seen: Any, pyramid: Sequence[Tensor], data_samples: Sequence[DetDataSample]
    ) -> Any:
        """The predictions for a batch.

        Args:
            seen: what :meth:`watch` collected.
            pyramid: all levels of the teacher's pyramid.
            data_samples: annotations of the batch.
        """

    def assign(self, inputs: Tensor, data_samples: Sequence[DetDataSample]) -> Any:
        """The assignment of a batch of images [N, 3, H, W] before any network has seen it."""


@dataclass
class Seen:
    """What the student's head did with a batch.

    pyramid: all its levels.
    outputs: of the head: each kind of prediction by level.
    targets: of its loss.
    towers: the outputs of each convolution of each tower by level.
    """

    pyramid: Sequence[Tensor] = ()
    outputs: Sequence[Sequence[Tensor]] = ()
    targets: HeadTargets | None = None
    towers: dict[str, list[list[Tensor]]] = field(default_factory=dict)

    @property
    def predicted(self) -> list[Tensor]:
        """All that the student's head made of the pyramid."""
        parts = [*self.outputs, *(level for tower in self.towers.values() for level in tower)]
        return [tensor for part in parts for tensor in part]


class DenseHeads:
    """Heads that predict for each cell, whose loss assigns like RetinaNet, ATSS, GFL or FCOS."""

    def __init__(self, student: nn.Module, teacher: Teacher, levels: CommonLevels) -> None:
        self.student = dense_head("student", student)
        self.teacher = dense_head("teacher", teacher.detector)
        self.levels, self.frozen = levels, teacher
        require_same_priors(self.student, self.teacher, levels)

    @contextmanager
    def watch(self) -> Iterator[Seen]:
        """See :meth:`Heads.watch`."""
        seen = Seen()

        def keep(module: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> None:
            seen.pyramid, seen.outputs = inputs[0], outputs

        def keep_targets(targets: HeadTargets) -> None:
            seen.targets = targets

        handle = self.student.head.register_forward_hook(keep)
        try:
            with self.student.watch_targets(keep_targets):
                yield seen
        finally:
            handle.remove()

    def read(
        self, seen: Seen, pyramid: Sequence[Tensor], data_samples: Sequence[DetDataSample]
    ) -> DensePredictions:
        """See :meth:`Heads.read`."""
        outputs = self.frozen.predictions(pyramid)
        assert seen.targets, "the student has computed its loss"
        priors = self.levels.of_student(seen.targets.priors)
        return DensePredictions(
            student=self.student.dense(seen.outputs, self.levels.student, priors),
            teacher=self.teacher.dense(outputs, self.levels.teacher, priors),
            priors=priors,
            assignment=self.student.assignment(seen.targets, self.levels.student),
        )

    def assign(self, inputs: Tensor, data_samples: Sequence[DetDataSample]) -> Assignment:
        """See :meth:`Heads.assign`."""
        targets = self.student.targets(inputs, data_samples)
        return self.student.assignment(targets, self.levels.student)


class DistributionHeads(DenseHeads):
    """Dense heads that predict each side of a box as a distribution over bins."""

    def __init__(self, student: nn.Module, teacher: Teacher, levels: CommonLevels) -> None:
        super().__init__(student, teacher, levels)
        ours, theirs = self.student.bins, self.teacher.bins
        if ours is None or ours != theirs:
            problem = f"has sides over {ours or 'no'} bins in the student, {theirs or 'no'} in the"
            expected = "the same number for both, as in GFL"
            raise InputError("model", "bbox_head", f"{problem} teacher", expected)


class TowerHeads(DenseHeads):
    """Dense heads with a tower of convolutions each for classification and localisation."""

    def __init__(self, student: nn.Module, teacher: Teacher, levels: CommonLevels) -> None:
        super().__init__(student, teacher, levels)
        for name, one in (("student", self.student), ("teacher", self.teacher)):
            require_towers(name, one.head)
        require_same_features(self.student.head, self.teacher.head)
        own, other = (len(one.head.prior_generator.strides) for one in (self.student, self.teacher))
        if own != other:
            problem = f"predicts on {own} levels in the student and on {other} in the teacher"
            raise InputError("model", "bbox_head", problem, "the same levels, to cross the heads")

    @contextmanager
    def watch(self) -> Iterator[Seen]:
        """See :meth:`Heads.watch`."""
        handles = []
        with super().watch() as seen:
            for name in TOWERS:
                seen.towers[name] = []
                for conv in getattr(self.student.head, name):
                    outputs: list[Tensor] = []
                    seen.towers[name].append(outputs)
                    handles.append(conv.register_forward_hook(_Keep(outputs)))
            try:
                yield seen
            finally:
                for handle in handles:
                    handle.remove()

    def read(
        self, seen: Seen, pyramid: Sequence[Tensor], data_samples: Sequence[DetDataSample]
    ) -> TowerPredictions:
        """See :meth:`Heads.read`."""
        dense = super().read(seen, pyramid, data_samples)

        def cross(position: int) -> Dense:
            outputs = self.crossed(seen, pyramid, position)
            return self.teacher.dense(outputs, self.levels.teacher, dense.priors)

        return TowerPredictions(**vars(dense), cross=cross)

    def crossed(
        self, seen: Seen, pyramid: Sequence[Tensor], position: int
    ) -> Sequence[Sequence[Tensor]]:
        """What the teacher's head makes of the student's features after ``position`` convolutions.

        The head computes in the teacher's precision, whatever the method's is.
        """
        most = min(len(getattr(self.student.head, name)) for name in TOWERS)
        if not 0 <= position <= most:
            problem = f"is {position}, but the towers of the heads have {most} convolutions"
            raise InputError("methods", "options.position", problem, f"0 to {most}")
        features = {
            name: outputs[position - 1] if position else seen.pyramid
            for name, outputs in seen.towers.items()
        }
        device = pyramid[0].device.type
        with torch.autocast(device, enabled=False), entered(self.teacher.head, features, position):
            return self.teacher.head(pyramid)


class _Keep:
    """A forward hook that keeps the outputs of a module."""

    def __init__(self, outputs: list[Tensor]) -> None:
        self.outputs = outputs

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self.outputs.append(output)


class Given(nn.Module):
    """Stands for the first convolutions of a tower: gives the features of one level after another.

    Args:
        levels: the features.
        dtype: what the layers after it take.
    """

    def __init__(self, levels: Sequence[Tensor], dtype: torch.dtype) -> None:
        super().__init__()
        self.levels, self.dtype = list(levels), dtype

    def forward(self, x: Tensor) -> Tensor:
        """The features of the next level, whatever the input."""
        return self.levels.pop(0).to(self.dtype)


@contextmanager
def entered(
    head: nn.Module, features: dict[str, Sequence[Tensor]], position: int
) -> Iterator[None]:
    """Within the block, ``head`` starts from these features after ``position`` convolutions.

    Args:
        head: its layers see the pyramid through its towers alone.
        features: by name of the tower, for each level.
        position: number of convolutions of each tower that are left out.
    """
    before = {name: getattr(head, name) for name in features}
    for name, levels in features.items():
        given = Given(levels, next(before[name].parameters()).dtype)
        setattr(head, name, nn.ModuleList([given, *before[name][position:]]))
    try:
        yield
    finally:
        for name, tower in before.items():
            setattr(head, name, tower)


def require_same_priors(student: DenseHead, teacher: DenseHead, levels: CommonLevels) -> None:
    """Raise InputError unless both heads predict the same classes for the same priors."""
    own, other = student.head.num_classes, teacher.head.num_classes
    if own != other:
        problem = f"is {own} for the student, {other} for the teacher"
        raise InputError("model", "bbox_head.num_classes", problem, "the same for both")
    for name, one, places in (
        ("student", student, levels.student),
        ("teacher", teacher, levels.teacher),
    ):
        strides = [max(stride) for stride in one.head.prior_generator.strides]
        found = [strides[place] for place in places if place < len(strides)]
        if found != list(levels.strides):
            problem = f"of the {name} has strides {strides}, its pyramid {list(levels.strides)}"
            raise InputError("model", "bbox_head", problem, "a prediction for each of these levels")
    for ours, theirs in zip(levels.student, levels.teacher, strict=True):
        if student.priors_of_cell(ours) != teacher.priors_of_cell(theirs):
            key, problem = "bbox_head.anchor_generator", "differs between student and teacher"
            raise InputError("model", key, problem, "the same anchors or points for both")


def require_towers(name: str, head: nn.Module) -> None:
    """Raise InputError unless all levels share two towers of convolutions."""
    for tower in TOWERS:
        convs: Any = getattr(head, tower, None)
        plain = isinstance(convs, nn.ModuleList) and len(convs) > 0
        if not plain or any(isinstance(conv, nn.ModuleList) for conv in convs):
            problem = f"of the {name} is a {type(head).__name__}, which has no {tower}"
            expected = "a head with a tower each for classes and boxes, such as RetinaNet's"
            raise InputError("model", "bbox_head", problem, expected)


def require_same_features(student: Any, teacher: Any) -> None:
    """Raise InputError unless the towers of both heads are equally wide and long."""
    for what in ("feat_channels", "stacked_convs"):
        own, other = getattr(student, what), getattr(teacher, what)
        if own != other:
            problem = f"is {own} for the student, {other} for the teacher"
            raise InputError("model", f"bbox_head.{what}", problem, "the same, to cross the heads")


class SeveralHeads:
    """The heads as each of several methods asks for them, by the method's name."""

    def __init__(self, heads: Mapping[str, Heads]) -> None:
        self.heads = heads

    @contextmanager
    def watch(self) -> Iterator[dict[str, Any]]:
        """See :meth:`Heads.watch`."""
        with ExitStack() as stack:
            yield {name: stack.enter_context(own.watch()) for name, own in self.heads.items()}

    def read(
        self,
        seen: Mapping[str, Any],
        pyramid: Sequence[Tensor],
        data_samples: Sequence[DetDataSample],
    ) -> dict[str, Any]:
        """See :meth:`Heads.read`."""
        return {
            name: own.read(seen[name], pyramid, data_samples) for name, own in self.heads.items()
        }

    def assign(self, inputs: Tensor, data_samples: Sequence[DetDataSample]) -> dict[str, Any]:
        """See :meth:`Heads.assign`."""
        return {name: own.assign(inputs, data_samples) for name, own in self.heads.items()}


KINDS: dict[str, type[Heads]] = {
    "dense": DenseHeads,
    "distributions": DistributionHeads,
    "towers": TowerHeads,
    "queries": QueryHeads,
}


def heads_of(
    method: nn.Module, student: nn.Module, teacher: Teacher, levels: CommonLevels
) -> Heads | None:
    """The heads as a method asks for them, None if it does not.

    Raises:
        InputError: it asks for an unknown kind, or the detectors have other heads.
    """
    if isinstance(method, Combined):
        found = {
            name: heads_of(part, student, teacher, levels.only(method.strides[name]))
            for name, part in method.parts.items()
        }
        asked = {name: heads for name, heads in found.items() if heads}
        return SeveralHeads(asked) if asked else None
    kind = getattr(type(method), "heads", None)  # an attribute of the method itself may be its own
    if kind is None:
        return None
    if kind not in KINDS:
        problem = f"of {type(method).__name__} is {kind!r}"
        raise InputError("methods", "heads", problem, f"one of {sorted(KINDS)}")
    return KINDS[kind](student, teacher, levels)
