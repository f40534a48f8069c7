"""Which images the figures show: the same in each, chosen by a rule and not by their looks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icd.data.annotations import complete, read_annotations
from icd.data.instances import instances
from icd.experiments.splits import TEST
from icd.experiments.track import Track

COUNT = 4
OBJECTS = (2, 4)  # least and most in one image
SIZES = 4  # the largest object has at least so many times the area of the smallest


@dataclass(frozen=True)
class Example:
    """An image of a split with its annotations.

    id: of the image.
    file: of the image.
    objects: its annotations as COCO knows them, without crowds and what cannot be seen.
    """

    id: int
    file: Path
    objects: list[dict[str, Any]]


def examples(
    track: Track, truth: dict[str, Any], split: str = TEST, count: int = COUNT
) -> list[Example]:
    """The first images of a split, by their ids, with two to four objects of different sizes.

    If there are not enough of them, the first of the other images with objects follow.

    Args:
        truth: see :func:`read_truth`.
        split: of the images.
        count: number of images.
    """
    files = {image["id"]: image["file_name"] for image in truth["images"]}
    objects: dict[int, list[dict[str, Any]]] = {}
    for annotation in instances(truth):
        objects.setdefault(annotation["image_id"], []).append(annotation)
    shown = sorted(sorted(objects), key=lambda image: not varied(objects[image]))
    folder = track.images(split)
    return [Example(image, folder / files[image], objects[image]) for image in shown[:count]]


def read_truth(track: Track, split: str = TEST) -> dict[str, Any]:
    """The annotations of a split, with all that readers of COCO files expect."""
    content = read_annotations(track.annotations(split))
    complete(content)
    return content


def varied(objects: list[dict[str, Any]]) -> bool:
    """True for two to four objects, of which one is much larger than another."""
    areas = [thing["area"] for thing in objects]
    return OBJECTS[0] <= len(areas) <= OBJECTS[1] and max(areas) >= SIZES * min(areas)
