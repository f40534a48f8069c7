"""A student that learns from a teacher: any mmdet detector with a pyramid, in a wrapper."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import Tensor, nn

from icd.errors import InputError
from icd.experiments.options import Levels
from icd.methods.adapter import Adapted
from icd.methods.combination import Combined
from icd.methods.tokens import Targets
from icd.training.checkpoint import load_weights
from icd.training.heads import Heads, heads_of
from icd.training.method_class import accepted_arguments, method_class
from icd.training.pyramid import (
    CommonLevels,
    Pyramid,
    common_levels,
    pyramid_network,
    pyramid_of,
)
from icd.training.teacher import Renormalise, Teacher


class Taught(BaseModel):
    """A model that trains a method with the features of a teacher.

    The teacher's weights are neither trained nor saved.

    levels: those that the method sees.
    teacher_pyramid: these levels of the teacher's.
    heads: those of student and teacher, if the method asks for their predictions.
    """

    method: nn.Module
    teacher: Teacher
    levels: CommonLevels
    teacher_pyramid: Pyramid
    heads: Heads | None = None
    iteration = 0  # kept up to date by IterationHook

    def hide_teacher(self, detector: nn.Module, checkpoint: str) -> None:
        """Load the weights of a detector, and let it be the teacher."""
        load_weights(detector, Path(checkpoint))
        loaded = f"{len(detector.state_dict())} tensors from {checkpoint}"
        print_log(f"teacher: all {loaded}", logger="current")
        self.teacher = Teacher(detector)

    def teacher_levels(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The levels of the teacher as the method sees them: of one width."""
        return self.teacher_pyramid.filled(self.levels.of_teacher(features))

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> Taught:
        """Apply ``.to()``, ``.cuda()`` and ``.float()`` to the hidden teacher as well."""
        self.teacher.detector._apply(function, recurse)
        return super()._apply(function, recurse)


@MODELS.register_module()
class Distiller(Taught):
    """Trains ``student`` with its own losses and those of a distillation method.

    After training only the student matters; its weights have the prefix ``student.``.

    Args:
        student: config of the detector to train.
        teacher: ``config`` of the detector to learn from and ``checkpoint``, its weights.
        method: config of the method. Its ``type`` is module.Class of a module with a ``forward``
            like that of :class:`icd.methods.icd.method.ICD`, with one argument more if the class
            asks for predictions (:mod:`icd.methods.predictions`). The constructor receives those of
            ``channels`` (width of the teacher's pyramid), ``student_channels`` (if different) and
            ``strides`` (of the levels that it distils) that it accepts. Where levels of a pyramid
            differ in width, narrow ones are filled with channels of zeros. For several methods:
            ``parts``, which has the ``method`` and ``levels`` of each by its name.
        levels: which of the levels that both pyramids have the method distils. It sees no others.
        adapter: allow the student's pyramid another width. A method without ``student_channels``
            then receives its features through :class:`icd.methods.adapter.Adapted`.
    """

    def __init__(
        self,
        student: dict[str, Any],
        teacher: dict[str, Any],
        method: dict[str, Any],
        levels: Levels = "all",
        adapter: bool = False,
    ) -> None:
        built = MODELS.build(student)
        super().__init__(data_preprocessor=built.data_preprocessor)
        self.student = built
        # The student draws the same random numbers for its initialisation as without a method.
        with torch.random.fork_rng(devices=[]):
            detector = MODELS.build(teacher["config"])
        own, other = pyramid_of(built), pyramid_of(detector)
        self.levels = common_levels(own.strides, other.strides, levels)
        self.student_pyramid = own.only(self.levels.strides)
        self.teacher_pyramid = other.only(self.levels.strides)
        require_equal_widths(self.student_pyramid, self.teacher_pyramid, adapter)
        with torch.random.fork_rng(devices=[]):
            built_method = build_method(method, self.student_pyramid, self.teacher_pyramid)
        self.hide_teacher(detector, teacher["checkpoint"])
        self.renormalise = Renormalise(built.data_preprocessor, detector.data_preprocessor)
        self.use(built_method)

    def use(self, method: nn.Module) -> None:
        """Distil with this method.

        Raises:
            InputError: it asks for predictions of heads that the detectors do not have.
        """
        self.method = method
        self.heads = heads_of(method, self.student, self.teacher, self.levels)

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[DetDataSample] | None = None,
        mode: str = "tensor",
    ) -> dict[str, Any] | list[DetDataSample] | tuple[Any, ...]:
        """As any mmdet detector; ``mode="loss"`` adds the losses of the method."""
        if mode != "loss" or data_samples is None:
            return self.student(inputs, data_samples, mode=mode)
        watched = self.heads.watch() if self.heads else nullcontext()
        with features_of(pyramid_network(self.student)) as seen, watched as predicted:
            losses = self.student(inputs, data_samples, mode="loss")
        targets = targets_of(inputs, data_samples, self.levels.strides)
        pyramid = self.teacher.features(self.renormalise(inputs, targets.image_sizes))
        teacher, ours = self.teacher_levels(pyramid), self.student_levels(seen[0])
        given: tuple[Any, ...] = (teacher, ours, targets, self.iteration)
        if self.heads:
            given += (self.heads.read(predicted, pyramid, data_samples),)
        return losses | self.method(*given)

    def student_levels(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The levels of the student as the method sees them: of one width."""
        return self.student_pyramid.filled(self.levels.of_student(features))


def build_method(config: dict[str, Any], student: Pyramid, teacher: Pyramid) -> nn.Module:
    """A method between two pyramids of the same strides, with an adapter if needed.

    A method that asks for predictions gets no adapter. It may not use the pyramids at all, and
    data-parallel training needs a gradient for every parameter. Each of several methods is
    initialised as it would be alone.
    """
    if "parts" in config:
        parts, seen = {}, {}
        for name, part in config["parts"].items():
            seen[name] = common_levels(student.strides, teacher.strides, part["levels"]).strides
            pyramids = [pyramid.part(seen[name]) for pyramid in (student, teacher)]
            with torch.random.fork_rng(devices=[]):
                parts[name] = build_method(part["method"], *pyramids)
        return Combined(parts, seen)
    offered: dict[str, Any] = {"channels": teacher.channels, "strides": teacher.strides}
    equal = student == teacher
    if not equal:
        offered["student_channels"] = student.channels
    accepted = accepted_arguments(method_class(config["type"]), offered)
    method = MODELS.build({**accepted, **config})
    print_log(f"distilled levels: strides {teacher.strides}", logger="current")
    if equal or "student_channels" in accepted or hasattr(type(method), "heads"):
        return method
    sizes = f"from {student.widths} to {teacher.widths} channels"
    print_log(f"adapter: 1x1 convolutions {sizes}", logger="current")
    return Adapted(method, student.widths, teacher.widths, teacher.channels)


@contextmanager
def features_of(neck: nn.Module) -> Iterator[list[tuple[Tensor, ...]]]:
    """Within the block, collect the outputs of ``neck``."""
    seen: list[tuple[Tensor, ...]] = []
    handle = neck.register_forward_hook(lambda module, inputs, output: seen.append(output))
    try:
        yield seen
    finally:
        handle.remove()


def targets_of(
    inputs: Tensor, data_samples: list[DetDataSample], strides: Sequence[int]
) -> Targets:
    """The ground truth of a batch of padded images [N, 3, H, W], for levels of these strides."""
    return Targets(
        boxes=[sample.gt_instances.bboxes for sample in data_samples],
        labels=[sample.gt_instances.labels for sample in data_samples],
        image_sizes=[tuple(sample.img_shape[:2]) for sample in data_samples],
        padded_size=(inputs.shape[-2], inputs.shape[-1]),
        strides=strides,
    )


def require_equal_widths(student: Pyramid, teacher: Pyramid, adapter: bool) -> None:
    """Raise InputError unless both pyramids have equal widths, or an adapter is allowed."""
    ours, theirs = (_widths(pyramid.widths) for pyramid in (student, teacher))
    if ours != theirs and not adapter:
        problem = f"is {ours} for the student, {theirs} for the teacher"
        place = "detectors.<name>.model.neck.out_channels"
        expected = f"{theirs} for both: set {place} in the track, and its heads' in_channels"
        expected += "; or adapter: true"
        raise InputError("model", "neck.out_channels", problem, expected)


def _widths(widths: list[int]) -> int | list[int]:
    """The widths of levels, as one number if they are equal."""
    return widths[0] if len({*widths}) == 1 else widths


def unwrap(model: nn.Module) -> Any:
    """The model inside a data-parallel wrapper: a detector of mmdet, or a Taught model."""
    return getattr(model, "module", model)


def bare_detector(model: nn.Module) -> Any:
    """The detector that is trained, without its distillation wrapper."""
    model = unwrap(model)
    return model.student if isinstance(model, Distiller) else model
