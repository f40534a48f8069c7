"""A student that learns from a teacher: any mmdet detector with an FPN, in a wrapper."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
from icd.methods.tokens import Targets
from icd.training.checkpoint import load_weights
from icd.training.method_class import accepted_arguments, method_class
from icd.training.pyramid import CommonLevels, common_levels, strides
from icd.training.teacher import Renormalise, Teacher


class Taught(BaseModel):
    """A model that trains a method with the features of a teacher.

    The teacher's weights are neither trained nor saved.

    levels: those that the method sees.
    """

    method: nn.Module
    teacher: Teacher
    levels: CommonLevels
    iteration = 0  # kept up to date by IterationHook

    def hide_teacher(self, detector: nn.Module, checkpoint: str) -> None:
        """Load the weights of a detector, and let it be the teacher."""
        load_weights(detector, Path(checkpoint))
        loaded = f"{len(detector.state_dict())} tensors from {checkpoint}"
        print_log(f"teacher: all {loaded}", logger="current")
        self.teacher = Teacher(detector)

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
            like that of :class:`icd.methods.icd.method.ICD`. The constructor receives those of
            ``channels`` (width of the teacher's pyramid), ``student_channels`` (if different) and
            ``strides`` (of the levels that it distils) that it accepts.
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
        require_pyramids(built, detector, adapter)
        self.levels = common_levels(strides(built), strides(detector), levels)
        with torch.random.fork_rng(devices=[]):
            self.method = build_method(method, built.neck, detector.neck, self.levels.strides)
        self.hide_teacher(detector, teacher["checkpoint"])
        self.renormalise = Renormalise(built.data_preprocessor, detector.data_preprocessor)

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[DetDataSample] | None = None,
        mode: str = "tensor",
    ) -> dict[str, Any] | list[DetDataSample] | tuple[Any, ...]:
        """As any mmdet detector; ``mode="loss"`` adds the losses of the method."""
        if mode != "loss" or data_samples is None:
            return self.student(inputs, data_samples, mode=mode)
        with features_of(self.student.neck) as seen:
            losses = self.student(inputs, data_samples, mode="loss")
        targets = targets_of(inputs, data_samples, self.levels.strides)
        pyramid = self.teacher.features(self.renormalise(inputs, targets.image_sizes))
        teacher, ours = self.levels.of_teacher(pyramid), self.levels.of_student(seen[0])
        return losses | self.method(teacher, ours, targets, self.iteration)


def build_method(
    config: dict[str, Any], student: Any, teacher: Any, strides: list[int]
) -> nn.Module:
    """A method between two necks, for levels with these strides, with an adapter if needed."""
    ours, theirs = student.out_channels, teacher.out_channels
    offered = {"channels": theirs, "strides": strides}
    if ours != theirs:
        offered["student_channels"] = ours
    accepted = accepted_arguments(method_class(config["type"]), offered)
    method = MODELS.build({**accepted, **config})
    print_log(f"distilled levels: strides {strides}", logger="current")
    if ours == theirs or "student_channels" in accepted:
        return method
    print_log(f"adapter: 1x1 convolutions from {ours} to {theirs} channels", logger="current")
    return Adapted(method, ours, theirs, len(strides))


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


def require_pyramids(student: nn.Module, teacher: nn.Module, adapter: bool) -> None:
    """Raise InputError unless both detectors have a pyramid and, without adapter, of one width."""
    ours, theirs = (
        require_pyramid(name, model).out_channels
        for name, model in (("student", student), ("teacher", teacher))
    )
    if ours != theirs and not adapter:
        problem = f"is {ours} for the student, {theirs} for the teacher"
        place = "detectors.<name>.model.neck.out_channels"
        expected = f"{theirs} for both: set {place} in the track, and its heads' in_channels"
        expected += "; or adapter: true"
        raise InputError("model", "neck.out_channels", problem, expected)


def require_pyramid(name: str, model: nn.Module) -> Any:
    """The neck of a detector; raises InputError unless it is a pyramid."""
    neck = getattr(model, "neck", None)
    for key in ("out_channels", "num_outs"):
        if not isinstance(getattr(neck, key, None), int):
            problem = f"of the {name} is a {type(neck).__name__}, which does not state {key}"
            raise InputError("model", "neck", problem, "an FPN, or another that does")
    return neck


def unwrap(model: nn.Module) -> Any:
    """The model inside a data-parallel wrapper: a detector of mmdet, or a Taught model."""
    return getattr(model, "module", model)


def bare_detector(model: nn.Module) -> Any:
    """The detector that is trained, without its distillation wrapper."""
    model = unwrap(model)
    return model.student if isinstance(model, Distiller) else model
