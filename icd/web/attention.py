"""Where an ICD run's decoder looks in the images of the page: all layers and heads, per object."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, TypedDict

import torch
from torch import Tensor

from icd.experiments.run import TrainedRun
from icd.experiments.track import Track
from icd.figures.attention_maps import Seen, by_area, load_distiller, load_images, see
from icd.figures.examples import examples, read_truth
from icd.figures.spread import spread
from icd.files import read_json
from icd.methods.tokens import Size
from icd.training.config import RunInputs
from icd.web.images import COUNT

OBJECTS = 4  # of an image, besides all of them together
CELLS = 1200  # of a map at most; a finer one is summed over neighbours
VALUES = 20_000  # of an object at most, so that maps of deep decoders become coarser, not larger


class Map(TypedDict):
    """The attention of one object, or of all objects of an image.

    box: x, y, width and height as fractions of the image; None for all objects together.
    label: index of the class; None likewise.
    peak: the largest value of the maps.
    maps: base64 of uint8 [layers, heads, rows, columns]: 255 times the root of value over peak.
    inside: share of the attention in the box, [layers][heads]; in any box for all objects.
    effective: exponential of the entropy over the number of tokens, [layers][heads].
    """

    box: list[float] | None
    label: int | None
    peak: float
    maps: str
    inside: list[list[float]]
    effective: list[list[float]]


class ImageMaps(TypedDict):
    """The maps of an image.

    extent: width and height of the grid as multiples of the image's, which it may exceed.
    area: share of the image that is in any box.
    """

    id: int
    rows: int
    columns: int
    extent: list[float]
    area: float
    objects: list[Map]


class RunMaps(TypedDict):
    """The maps of a run on a split."""

    run: str
    split: str
    layers: int
    heads: int
    images: list[ImageMaps]


def gather(track: Track, run: TrainedRun, split: str) -> RunMaps:
    """The attention of a run whose weights are there, in the first images of a split."""
    survey = read_json(track.results / "data.json", "what icd check writes")
    inputs = RunInputs(track.data_root, survey)
    chosen = [example.id for example in examples(track, read_truth(track, split), split, COUNT)]
    distiller = load_distiller(run, inputs)
    samples = load_images(run, inputs, chosen, split)
    images = [
        image_maps(see(distiller, sample), image)
        for sample, image in zip(samples, chosen, strict=True)
    ]
    layers = len(images[0]["objects"][0]["inside"])
    heads = len(images[0]["objects"][0]["inside"][0])
    return RunMaps(run=run.id, split=split, layers=layers, heads=heads, images=images)


@torch.no_grad()
def image_maps(seen: Seen, image: int) -> ImageMaps:
    """The maps of up to ``OBJECTS`` objects, and of all objects together.

    The objects are evenly spaced in the order of their areas, the largest first.
    """
    count, stride = len(seen.boxes), seen.strides[0]
    height, width = seen.size
    fine = (-(-height // stride), -(-width // stride))
    heads = len(seen.attention(0, torch.ones(count, dtype=torch.bool)))
    factor = pooling(*fine, most=min(CELLS, VALUES // (heads * len(seen.layers))))
    rows, columns = (-(-cells // factor) for cells in fine)
    places = torch.linspace(0, count - 1, min(count, OBJECTS)).round().int().tolist()
    order = by_area(seen.boxes)
    inside = torch.stack([covered(box, fine, stride) for box in seen.boxes])
    union = inside.amax(dim=0)
    objects = [
        object_map(seen, torch.arange(count) == chosen, inside[chosen], fine, factor)
        | {"box": fractions(seen.boxes[chosen], seen.size), "label": int(seen.labels[chosen])}
        for chosen in (order[place] for place in places)
    ]
    every = object_map(seen, torch.ones(count, dtype=torch.bool), union, fine, factor)
    return ImageMaps(
        id=image,
        rows=rows,
        columns=columns,
        extent=[columns * factor * stride / width, rows * factor * stride / height],
        area=round(float(union.sum()) * stride**2 / (height * width), 4),
        objects=[*objects, every | {"box": None, "label": None}],
    )


def object_map(seen: Seen, counted: Tensor, inside: Tensor, fine: Size, factor: int) -> Any:
    """The maps of the objects that count, without box and label.

    Args:
        counted: [n] bool.
        inside: [rows, columns] of the finest level: the share of each cell in the boxes.
        fine: rows and columns of the finest level in the image.
        factor: how many of its cells are summed in each direction.
    """
    weights = torch.stack([seen.attention(layer, counted) for layer in range(len(seen.layers))])
    relative = [stride // seen.strides[0] for stride in seen.strides]
    density = spread(weights.double(), seen.sizes, relative, fine)
    pooled = torch.nn.functional.avg_pool2d(
        density, factor, ceil_mode=True, divisor_override=1
    )  # sums
    peak = float(pooled.max())
    levels = (pooled / max(peak, 1e-12)).sqrt().mul(255).round().to(torch.uint8)
    return {
        "peak": peak,
        "maps": base64.b64encode(levels.numpy().tobytes()).decode(),
        "inside": rounded((density * inside).sum(dim=(-2, -1))),
        "effective": rounded(effective(weights.double()) / int(seen.valid.sum())),
    }


def pooling(rows: int, columns: int, most: int) -> int:
    """The smallest factor by which a grid has at most so many cells, and at least one."""
    factor = 1
    while -(-rows // factor) * -(-columns // factor) > max(most, 1):
        factor += 1
    return factor


def covered(box: Tensor, cells: Size, stride: int) -> Tensor:
    """The share of each cell [rows, columns] in a box of x1, y1, x2, y2 pixels."""
    axes = []
    for low, high, count in ((box[1], box[3], cells[0]), (box[0], box[2], cells[1])):
        edges = torch.arange(count + 1, dtype=torch.float64) * stride
        axes.append((edges[1:].clamp(max=high) - edges[:-1].clamp(min=low)).clamp(min=0) / stride)
    return axes[0][:, None] * axes[1]


def effective(weights: Tensor) -> Tensor:
    """How many tokens [...] share the attention [..., L]: the exponential of its entropy."""
    shares = weights / weights.sum(dim=-1, keepdim=True).clamp(min=1e-12)
    return torch.special.entr(shares).sum(dim=-1).exp()


def fractions(box: Tensor, size: Sequence[int]) -> list[float]:
    """x1, y1, x2, y2 pixels as x, y, width and height in units of the image."""
    height, width = size
    left, top, right, bottom = box.tolist()
    values = (left / width, top / height, (right - left) / width, (bottom - top) / height)
    return [round(value, 4) for value in values]


def rounded(values: Tensor) -> list[list[float]]:
    """[layers, heads] as lists of three digits."""
    return [[round(value, 3) for value in row] for row in values.tolist()]
