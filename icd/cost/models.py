"""Training steps of a track's student, alone and with each method, on random images and weights."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor, nn

from icd.experiments.options import Combination, Method
from icd.experiments.recipe import Recipe
from icd.experiments.run import ImportedRun, TrainedRun
from icd.methods.combination import named_parts
from icd.methods.tokens import Size, Targets
from icd.training import plugins  # noqa: F401  (registers what configs name)
from icd.training.base_config import base_config
from icd.training.channels_last import to_channels_last
from icd.training.checkpoint import write_weights
from icd.training.config import RunInputs, detector, method_config
from icd.training.distiller import Distiller, build_method, targets_of
from icd.training.optimisation import optim_wrapper, optimisation
from icd.training.precision import autocast, set_precision

AFTER_WARM_UP = 10**6
CLASSES = 80
SURVEY = {
    "classes": [str(label) for label in range(CLASSES)],
    "priors": {
        "frequency": [1 / CLASSES] * CLASSES,
        "size_mean": [[0.2, 0.2]] * CLASSES,
        "size_std": [[0.1, 0.1]] * CLASSES,
    },
}


def batch(size: Size, images: int, objects: int) -> dict[str, list]:
    """A batch as a data loader returns it: images [3, height, width] with random objects.

    Width and height of each object are between 5 and 33 percent of the image's.

    Args:
        size: height and width in pixels.
        images: number of images.
        objects: number of objects in each image.
    """
    generator = torch.Generator().manual_seed(0)
    extent = torch.tensor([size[1], size[0]])
    inputs, samples = [], []
    for _ in range(images):
        pixels = torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)
        sides = extent * (0.05 + 0.28 * torch.rand(objects, 2, generator=generator))
        corner = (extent - sides) * torch.rand(objects, 2, generator=generator)
        labels = torch.randint(0, CLASSES, (objects,), generator=generator)
        boxes = torch.cat([corner, corner + sides], dim=1)
        sample = DetDataSample(metainfo={"img_shape": size, "ori_shape": size, "pad_shape": size})
        sample.set_metainfo({"batch_input_shape": size, "scale_factor": (1.0, 1.0)})
        sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
        sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=labels[:0])
        inputs.append(pixels)
        samples.append(sample)
    return {"inputs": inputs, "data_samples": samples}


def build(run: TrainedRun, device: str, precision: str) -> Distiller:
    """The Distiller of a run with a method. The teacher has random weights."""
    init_default_scope("mmdet")
    torch.manual_seed(0)
    assert run.teacher, "runs with a method have a teacher"
    teacher = _config(run.teacher)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "model.pth")
        write_weights(weights, MODELS.build(teacher))
        source = {"config": teacher, "checkpoint": str(weights)}
        model = Distiller(_config(run), source, **method_config(run, RunInputs(Path(), SURVEY)))
    model.to(device)
    if run.recipe.channels_last:
        to_channels_last(model)
    set_precision(model, precision, run.recipe.teacher_precision or precision)
    model.iteration = AFTER_WARM_UP
    return model.train()


def _config(run: TrainedRun | ImportedRun) -> ConfigDict:
    return ConfigDict(detector(run, base_config(run), CLASSES))


def method_of(run: TrainedRun, model: Distiller, device: str, precision: str) -> nn.Module:
    """The method of a run, built for the student and teacher of ``model``, in training mode."""
    config = method_config(run, RunInputs(Path(), SURVEY))["method"]
    method = build_method(config, model.student_pyramid, model.teacher_pyramid).to(device)
    if run.recipe.channels_last:
        to_channels_last(method)
    if precision == "bfloat16":
        for part in named_parts(method).values():
            autocast(part)
    return method.train()


Step = Callable[[], Any]


def student_step(run: TrainedRun, model: Distiller, data: dict[str, list]) -> Step:
    """One training iteration of the student without a method, including its optimiser."""
    return _train_step(run.recipe, None, model.student, data)


def distilled_step(
    run: TrainedRun, model: Distiller, method: nn.Module, data: dict[str, list]
) -> Step:
    """One training iteration with a method, including both optimisers."""
    model.use(method)
    train = _train_step(run.recipe, run.method, model, data)

    def step() -> None:
        model.use(method)
        train()

    return step


def _train_step(
    recipe: Recipe,
    method: Method | Combination | None,
    model: BaseModel,
    data: dict[str, list],
) -> Step:
    wrapper = optimisation(recipe, method, 1000)["optim_wrapper"]
    optimiser = build_optim_wrapper(model, wrapper)

    def step() -> None:
        copies = [sample.clone() for sample in data["data_samples"]]
        model.train_step({"inputs": data["inputs"], "data_samples": copies}, optimiser)

    return step


def teacher_forward(model: Distiller, data: dict[str, list]) -> Step:
    """The teacher's forward pass on a batch, as in a Distiller."""
    inputs = model.data_preprocessor(data, True)["inputs"]
    return lambda: model.teacher.features(inputs)


@dataclass(frozen=True)
class Pyramids:
    """The inputs of a method: levels [N, C, h, w] of teacher and student, and the ground truth.

    batch: images and annotations.
    whole: all levels of the teacher.
    """

    teacher: Sequence[Tensor]
    student: Sequence[Tensor]
    targets: Targets
    batch: dict[str, Any]
    whole: Sequence[Tensor]


def pyramids(model: Distiller, data: dict[str, list]) -> Pyramids:
    """The pyramids of a batch. The student's levels require gradients."""
    ready = model.data_preprocessor(data, True)
    with torch.no_grad():
        student = model.student_levels(model.student.extract_feat(ready["inputs"]))
    student = [level.detach().requires_grad_() for level in student]
    whole = model.teacher.features(ready["inputs"])
    targets = targets_of(ready["inputs"], ready["data_samples"], model.levels.strides)
    return Pyramids(model.teacher_levels(whole), student, targets, ready, whole)


def predictions(model: Distiller, method: nn.Module, given: Pyramids) -> Callable[[], Any] | None:
    """Computes what the method asks for beside the pyramids; None if it does not ask.

    The student's predictions are those of its own loss, so they are computed here. The teacher's
    belong to the method's part of a step. The student's require gradients.
    """
    model.use(method)
    heads = model.heads
    if heads is None:
        return None
    with torch.no_grad(), heads.watch() as seen:
        model.student(**given.batch, mode="loss")
    parts = seen.values() if isinstance(seen, dict) else [seen]  # of several methods
    predicted = [tensor for part in parts for tensor in part.predicted]
    for tensor in predicted:
        tensor.requires_grad_()

    def read() -> Any:
        for tensor in predicted:
            tensor.grad = None
        return heads.read(seen, given.whole, given.batch["data_samples"])

    return read


def method_step(run: TrainedRun, model: Distiller, method: nn.Module, given: Pyramids) -> Step:
    """The method's part of a step: its losses, their gradients and its optimiser."""
    predict = predictions(model, method, given)
    optimisers = list(optimisers_of(run, method))

    def step() -> None:
        asked = [predict()] if predict else []
        losses = method(given.teacher, given.student, given.targets, AFTER_WARM_UP, *asked)
        sum(losses.values()).backward()
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()
        for level in given.student:
            level.grad = None

    return step


def optimisers_of(run: TrainedRun, method: nn.Module) -> Iterator[OptimWrapper]:
    """The optimisers of a run's methods: a combination has one for each part that learns."""
    stated = run.method.parts if run.method else []
    for part, own in zip(named_parts(method).values(), stated, strict=True):
        if any(parameter.requires_grad for parameter in part.parameters()):
            assert own.optimizer, "a method that learns has an optimiser"
            chosen = run.recipe.optimizer if own.optimizer == "student" else own.optimizer
            yield build_optim_wrapper(part, optim_wrapper(chosen))
