"""Where an ICD run's decoder looks in one image, beside what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.registry import init_default_scope
from numpy import ndarray
from torch import Tensor

import icd.training.dataset  # noqa: F401  (registers with mmdet)
from icd.experiments.run import Run
from icd.experiments.track import TEST
from icd.figures.numbers import require
from icd.figures.spread import spread
from icd.methods.icd.packed import pack
from icd.methods.icd.queries import pose
from icd.methods.icd.where import WHERE, Clues
from icd.methods.tokens import valid_tokens
from icd.training.checkpoint import load_weights
from icd.training.config import RunInputs, base_config, dataset, detector, distiller
from icd.training.distiller import Distiller, targets_of
from icd.training.pipeline import pipeline

COMPARED = ("instance", "foreground", "activation")  # names of icd.methods.icd.where


@dataclass(frozen=True)
class Masks:
    """An image of H x W pixels as the networks see it, and densities over it that sum to 1.

    image: [H, W, 3] RGB from 0 to 255.
    boxes: [n, 4] corners of its objects in pixels.
    chosen: index of the object that is asked for.
    heads: [M, H, W], the attention of its query in each head of the last decoder layer.
    where: [H, W] by name, the share of each pixel in the distillation loss.
    """

    image: ndarray
    boxes: ndarray
    chosen: int
    heads: ndarray
    where: dict[str, ndarray]


def load_distiller(run: Run, inputs: RunInputs) -> Distiller:
    """Student, method and teacher of a distilled run as they were after its training."""
    init_default_scope("mmdet")
    student = detector(run, base_config(run), len(inputs.survey["classes"]))
    built = MODELS.build(distiller(run, inputs, student)).eval()
    again = "the method's weights: remove model.pth beside it and train again, which resumes"
    load_weights(built.student, run.folder / "model.pth")
    load_weights(built.method, require(run.folder / "method.pth", again))
    return built


def load_images(run: Run, inputs: RunInputs, wanted: list[int]) -> list[dict]:
    """Images of the test split with their annotations, as mmdet's data set gives them."""
    init_default_scope("mmdet")
    steps = pipeline(
        base_config(run).test_dataloader.dataset.pipeline, run.description["images"], False
    )
    # Annotations are read before the image is resized, so that they are resized with it.
    steps.sort(key=lambda step: not step["type"].startswith("Load"))
    changes = {"type": "CompletedCocoDataset", "test_mode": True, "pipeline": steps}
    images = DATASETS.build(dataset(run, inputs, TEST) | changes)
    places = {images.get_data_info(i)["img_id"]: i for i in range(len(images))}
    return [images[places[image]] for image in wanted]


@torch.no_grad()
def look(distiller: Distiller, sample: dict, rank: int) -> Masks:
    """The masks of one image without fakes and jitter.

    Args:
        distiller: see :func:`load_distiller`.
        sample: see :func:`load_images`.
        rank: which object is asked for, from the largest (0) on, and again from the first.
    """
    method = distiller.method
    batch = distiller.student.data_preprocessor(
        {name: [value] for name, value in sample.items()}, False
    )
    targets = targets_of(batch["inputs"], batch["data_samples"])
    (boxes,), (size,) = targets.boxes, targets.image_sizes
    teacher = distiller.teacher.features(distiller.renormalise(batch["inputs"], [size]))
    student = distiller.student.extract_feat(batch["inputs"])
    ours, theirs = distiller.levels
    student, teacher = student[ours], teacher[theirs]

    generator = torch.Generator().manual_seed(0)  # of fakes and jitter, which do not count here
    queries = pose(targets, method.sampler([len(boxes)], generator), 0.0)
    sizes = targets.image_sizes, targets.padded_size
    tokens = pack(teacher, *sizes, queries.counts)
    found = method.decoder(method.encoder(queries)[0], tokens)[-1]
    valid, objects = valid_tokens(teacher, *sizes), [range(len(boxes))]
    clues = Clues(targets, teacher, student, valid, objects, method.temperature)

    def over_image(weights: Tensor) -> ndarray:
        return spread(weights.double(), clues.level_sizes, targets.padded_size, size).numpy()

    chosen = by_area(boxes)[rank % len(boxes)]
    return Masks(
        image=sample["inputs"].flip(0).permute(1, 2, 0).numpy(),
        boxes=boxes.numpy(),
        chosen=chosen,
        heads=over_image(found.attention([range(chosen, chosen + 1)], method.temperature)[0]),
        where={name: over_image(WHERE[name](clues, found)[0].mean(dim=0)) for name in COMPARED},
    )


def by_area(boxes: Tensor) -> list[int]:
    """Indices of boxes [n, 4], the largest first."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    return areas.argsort(descending=True, stable=True).tolist()
