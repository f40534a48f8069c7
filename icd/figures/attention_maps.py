"""Where an ICD run's decoder looks in one image, beside what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.registry import init_default_scope
from numpy import ndarray
from torch import Tensor

import icd.training.dataset  # noqa: F401  (registers with mmdet)
from icd.experiments.run import TrainedRun
from icd.experiments.splits import TEST
from icd.figures.spread import spread
from icd.files import require_file
from icd.methods.combination import part_of
from icd.methods.icd import fast
from icd.methods.icd.decoder import LayerOutput
from icd.methods.icd.method import ICD
from icd.methods.icd.queries import make_queries
from icd.methods.tokens import Size, sizes_of
from icd.methods.where import ALTERNATIVES
from icd.training.base_config import base_config
from icd.training.checkpoint import load_weights
from icd.training.config import RunInputs, dataset, detector, distiller
from icd.training.distiller import Distiller, targets_of
from icd.training.pipeline import pipeline

COMPARED = ("instance", "foreground", "activation")  # names of icd.methods.where


@dataclass(frozen=True)
class Masks:
    """An image of H x W pixels as the networks see it, and densities over it that sum to 1.

    image: [H, W, 3] RGB from 0 to 255.
    boxes: [n, 4] corners of its objects in pixels.
    chosen: index of the object whose attention is shown.
    heads: [M, H, W], the attention of its query in each head of the last decoder layer.
    where: [H, W] by name, the share of each pixel in the distillation loss.
    """

    image: ndarray
    boxes: ndarray
    chosen: int
    heads: ndarray
    where: dict[str, ndarray]


def load_distiller(run: TrainedRun, inputs: RunInputs) -> Distiller:
    """Student, method and teacher of a distilled run as they were after its training."""
    init_default_scope("mmdet")
    student = detector(run, base_config(run), len(inputs.survey["classes"]))
    built = MODELS.build(distiller(run, inputs, student)).eval()
    again = "the method's weights: remove model.pth beside it and train again, which resumes"
    load_weights(built.student, run.folder / "model.pth")
    load_weights(built.method, require_file(run.folder / "method.pth", again))
    return built


def load_images(
    run: TrainedRun, inputs: RunInputs, wanted: list[int], split: str = TEST
) -> list[dict]:
    """Images of a split with their annotations, as mmdet's data set gives them."""
    init_default_scope("mmdet")
    written = base_config(run).test_dataloader.dataset.pipeline
    steps = pipeline(written, run.images, False)
    # Annotations are read before the image is resized, so that they are resized with it.
    steps.sort(key=lambda step: not step["type"].startswith("Load"))
    changes = {"type": "CompletedCocoDataset", "test_mode": True, "pipeline": steps}
    images = DATASETS.build(dataset(run, inputs, split) | changes)
    places = {images.get_data_info(i)["img_id"]: i for i in range(len(images))}
    return [images[places[image]] for image in wanted]


@dataclass(frozen=True)
class Seen:
    """What the networks make of one image of H x W pixels.

    boxes: [n, 4] corners of its objects in pixels.
    labels: [n] their class indices.
    size: H and W.
    strides: of the levels, as ``sizes``, their rows and columns.
    layers: what each decoder layer returns for the objects, in their order.
    weights: [L] by name, the alternatives to the attention.
    valid: [L], False for tokens beyond the image.
    """

    boxes: Tensor
    labels: Tensor
    size: Size
    strides: list[int]
    sizes: list[Size]
    layers: list[LayerOutput]
    weights: dict[str, Tensor]
    valid: Tensor
    temperature: float

    def attention(self, layer: int, counted: Tensor) -> Tensor:
        """The attention [M, L] of a layer, summed over the objects [n] that count."""
        return self.layers[layer].attention(counted[None], self.temperature)[0]

    def over_image(self, weights: Tensor) -> ndarray:
        """Weights [..., L] as densities [..., H, W]."""
        return spread(weights.double(), self.sizes, self.strides, self.size).numpy()


@torch.no_grad()
def see(distiller: Distiller, sample: dict) -> Seen:
    """One image through teacher, student and decoder, without fakes and jitter.

    Args:
        distiller: see :func:`load_distiller`.
        sample: see :func:`load_images`.
    """
    batch = distiller.student.data_preprocessor(
        {name: [value] for name, value in sample.items()}, False
    )
    levels = distiller.levels
    targets = targets_of(batch["inputs"], batch["data_samples"], levels.strides)
    (boxes,), (labels,), (size,) = targets.boxes, targets.labels, targets.image_sizes
    inputs = distiller.renormalise(batch["inputs"], [size])
    teacher = distiller.teacher_levels(distiller.teacher.features(inputs))
    student = distiller.student_levels(distiller.student.extract_feat(batch["inputs"]))
    found = part_of(distiller.method, ICD, teacher, student, targets)
    if found is None:
        raise TypeError(f"{type(distiller.method).__name__} has no attention: expected ICD")
    method, (teacher, student, targets) = found

    generator = torch.Generator().manual_seed(0)  # of fakes and jitter, which do not count here
    queries = make_queries(targets, method.sampler([len(boxes)], generator), 0.0)
    tokens = method.tokens(teacher, targets)
    weights = {
        name: weigh(teacher, student, targets, tokens.valid)[0].mean(dim=0)
        for name, weigh in ALTERNATIVES.items()
        if name in COMPARED
    }
    return Seen(
        boxes=boxes,
        labels=labels,
        size=size,
        strides=list(targets.strides),
        sizes=sizes_of(teacher),
        layers=method.decoder(method.encoder(queries), tokens, fast.look_up),
        weights=weights,
        valid=tokens.valid[0],
        temperature=method.temperature,
    )


def look(distiller: Distiller, sample: dict, rank: int) -> Masks:
    """The masks of one image, of the last decoder layer.

    Args:
        distiller, sample: as of :func:`see`.
        rank: of the object whose attention is shown, from the largest (0) on, modulo their number.
    """
    seen = see(distiller, sample)
    every = torch.ones(len(seen.boxes), dtype=torch.bool)
    where = seen.weights | {"instance": seen.attention(-1, every).mean(dim=0)}
    chosen = by_area(seen.boxes)[rank % len(seen.boxes)]
    return Masks(
        image=sample["inputs"].flip(0).permute(1, 2, 0).numpy(),
        boxes=seen.boxes.numpy(),
        chosen=chosen,
        heads=seen.over_image(seen.attention(-1, torch.arange(len(every)) == chosen)),
        where={name: seen.over_image(where[name]) for name in COMPARED},
    )


def by_area(boxes: Tensor) -> list[int]:
    """Indices of boxes [n, 4], the largest first."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    return areas.argsort(descending=True, stable=True).tolist()
