"""The test images that the page shows, small enough to be part of it, with their annotations."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from icd.data.images import require_image
from icd.experiments.track import Track
from icd.figures.examples import Example, examples, read_truth

COUNT = 50  # images of a split
SIDE = 448  # pixels of the longer side of a picture; smaller images keep their size
QUALITY = 72  # of WebP: 10 to 30 kB for a photo of this size


class Picture(TypedDict):
    """An image; boxes are in its own pixels, which the picture may have fewer of.

    source: a data URL.
    objects: x, y, width, height and index of the class.
    """

    id: int
    name: str
    width: int
    height: int
    source: str
    objects: list[tuple[float, float, float, float, int]]


class Pictures(TypedDict):
    """The images of a split and the names of the classes."""

    classes: list[str]
    images: list[Picture]


def gather(track: Track, splits: Iterable[str]) -> dict[str, Pictures]:
    """The first images of each split with a few objects of different sizes, as in the figures."""
    found = {}
    for split in splits:
        truth = read_truth(track, split)
        indices = class_indices(truth)
        pictures = [picture(example, indices) for example in examples(track, truth, split, COUNT)]
        names = [category["name"] for category in truth["categories"]]
        found[split] = Pictures(classes=names, images=pictures)
    return found


def class_indices(truth: dict[str, Any]) -> dict[int, int]:
    """Index of each category in the annotation file by its id."""
    return {category["id"]: i for i, category in enumerate(truth["categories"])}


def picture(example: Example, indices: dict[int, int]) -> Picture:
    """An image as training reads it, turned as its EXIF orientation says."""
    pixels = require_image(example.file)[:, :, ::-1]
    height, width = pixels.shape[:2]
    return Picture(
        id=example.id,
        name=example.file.name,
        width=width,
        height=height,
        source=f"data:image/webp;base64,{base64.b64encode(webp(pixels)).decode()}",
        objects=[(*box(thing["bbox"]), indices[thing["category_id"]]) for thing in example.objects],
    )


def box(values: Iterable[float]) -> tuple[float, float, float, float]:
    """COCO's x, y, width and height to a tenth of a pixel."""
    x, y, width, height = (round(float(value), 1) for value in values)
    return x, y, width, height


def webp(pixels: NDArray[np.uint8]) -> bytes:
    """An image [H, W, 3] as WebP with at most ``SIDE`` pixels per side."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "webp", quality=QUALITY, method=6)
    return stream.getvalue()
