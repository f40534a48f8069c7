"""A student that learns from a teacher: any mmdet detector with an FPN, in a wrapper."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import Tensor, nn

from icd.errors import InputError
from icd.methods.adapter import Adapted
from icd.methods.targets import Targets
from icd.training.checkpoint import load_weights
from icd.training.method_class import accepted_arguments, method_class
from icd.training.pyramid import common_levels, strides
from icd.training.teacher import Renormalise, Teacher


@MODELS.register_module()
class Distiller(BaseModel):
    """Trains ``student`` with its own losses and those of a distillation method.

    Only the student is needed afterwards: its weights are those under ``student.``.

    Args:
        student: config of the detector to train.
        teacher: ``config`` (of the detector to learn from) and ``checkpoint`` (its weights).
        method: config of the method, its ``type`` module.Class of a module with a ``forward`` like
            that of :class:`icd.methods.icd.method.ICD`. If it asks, it is told ``channels`` (of the
            teacher's pyramid), ``student_channels`` and ``levels`` (that both pyramids have).
        adapter: the student's pyramid may have another width; a method that does not ask for
            ``student_channels`` then sees it through :class:`icd.methods.adapter.Adapted`.
    """

    def __init__(self, student: dict, teacher: dict, method: dict, adapter: bool = False) -> None:
        built = MODELS.build(student)
        super().__init__(data_preprocessor=built.data_preprocessor)
        self.student = built
        # The student is initialised with the same random numbers as without a method.
        with torch.random.fork_rng(devices=[]):
            detector = MODELS.build(teacher["config"])
        require_pyramids(built, detector, adapter)
        self.levels = common_levels(built.neck, detector.neck)
        with torch.random.fork_rng(devices=[]):
            self.method = build_method(method, built.neck, detector.neck, self.levels[0])
        load_weights(detector, teacher["checkpoint"])
        loaded = f"{len(detector.state_dict())} tensors from {teacher['checkpoint']}"
        print_log(f"teacher: all {loaded}", logger="current")
        self.renormalise = Renormalise(built.data_preprocessor, detector.data_preprocessor)
        self.teacher = Teacher(detector)
        self.iteration = 0  # kept up to date by IterationHook

    def _apply(self, *args, **kwargs) -> Distiller:
        """Move the hidden teacher along with ``.to()``, ``.cuda()`` and ``.float()``."""
        self.teacher.detector._apply(*args, **kwargs)
        return super()._apply(*args, **kwargs)

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[DetDataSample] | None = None,
        mode: str = "tensor",
    ) -> dict | list | tuple:
        """As any mmdet detector; ``mode="loss"`` adds the losses of the method."""
        if mode != "loss":
            return self.student(inputs, data_samples, mode=mode)
        with features_of(self.student.neck) as seen:
            losses = self.student(inputs, data_samples, mode="loss")
        targets = targets_of(inputs, data_samples)
        teacher = self.teacher.features(self.renormalise(inputs, targets.image_sizes))
        ours, theirs = self.levels
        return losses | self.method(teacher[theirs], seen[0][ours], targets, self.iteration)


def build_method(config: dict, student: nn.Module, teacher: nn.Module, levels: slice) -> nn.Module:
    """A method between two necks, for ``levels`` of the student's, with an adapter if needed."""
    kind = method_class(config["type"])
    ours, theirs = student.out_channels, teacher.out_channels
    count = len(range(student.num_outs)[levels])
    offered = {"channels": theirs, "levels": count}
    if ours != theirs:
        offered["student_channels"] = ours
    told = accepted_arguments(kind, offered)
    method = MODELS.build({**told, **config})
    if count < max(student.num_outs, teacher.num_outs):
        shared = strides(student)[levels]
        print_log(f"levels: strides {shared} are in both pyramids", logger="current")
    if ours == theirs or "student_channels" in told:
        return method
    print_log(f"adapter: 1x1 convolutions from {ours} to {theirs} channels", logger="current")
    return Adapted(method, ours, theirs, count)


@contextmanager
def features_of(neck: nn.Module) -> Iterator[list[tuple[Tensor, ...]]]:
    """Collects what ``neck`` returns while the block runs."""
    seen: list[tuple[Tensor, ...]] = []
    handle = neck.register_forward_hook(lambda module, inputs, output: seen.append(output))
    try:
        yield seen
    finally:
        handle.remove()


def targets_of(inputs: Tensor, data_samples: list[DetDataSample]) -> Targets:
    """The ground truth of a batch of padded images [N, 3, H, W]."""
    return Targets(
        boxes=[sample.gt_instances.bboxes for sample in data_samples],
        labels=[sample.gt_instances.labels for sample in data_samples],
        image_sizes=[tuple(sample.img_shape[:2]) for sample in data_samples],
        padded_size=tuple(inputs.shape[-2:]),
    )


def require_pyramids(student: nn.Module, teacher: nn.Module, adapter: bool) -> None:
    """Raise InputError unless both detectors have a pyramid, of one width if without adapter."""
    necks = [getattr(model, "neck", None) for model in (student, teacher)]
    for name, neck in zip(("student", "teacher"), necks, strict=True):
        for key in ("out_channels", "num_outs"):
            if not isinstance(getattr(neck, key, None), int):
                problem = f"of the {name} is a {type(neck).__name__}, which does not state {key}"
                raise InputError("model", "neck", problem, "an FPN, or another that does")
    ours, theirs = (neck.out_channels for neck in necks)
    if ours != theirs and not adapter:
        problem = f"is {ours} for the student, {theirs} for the teacher"
        place = "detectors.<name>.model.neck.out_channels"
        expected = f"{theirs} for both: set {place} in the track, and its heads' in_channels"
        expected += "; or adapter: true"
        raise InputError("model", "neck.out_channels", problem, expected)


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside a data-parallel wrapper."""
    return getattr(model, "module", model)


def bare_detector(model: nn.Module) -> nn.Module:
    """The detector that is trained, without the method that teaches it."""
    model = unwrap(model)
    return model.student if isinstance(model, Distiller) else model
