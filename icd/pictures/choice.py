"""Which images the pictures show: the same in each, chosen by a rule and not by their looks."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

from pycocotools.coco import COCO

from icd.suite.track import TEST, Track

COUNT = 4
OBJECTS = (2, 4)  # least and most in one image
SIZES = 4  # the largest object has at least so many times the area of the smallest


@dataclass(frozen=True)
class Picture:
    """An image of the test split with its annotations.

    id: of the image.
    file: of the image.
    objects: its annotations as COCO knows them, crowds left out.
    """

    id: int
    file: Path
    objects: list[dict]


def pictures(track: Track, truth: COCO) -> list[Picture]:
    """The first test images, by their ids, with two to four objects of different sizes.

    Where there are not enough of them, the first of the others with objects follow.
    """
    objects = {image: objects_of(truth, image) for image in sorted(truth.imgs)}
    shown = sorted(filter(objects.get, objects), key=lambda image: not varied(objects[image]))
    folder = track.images(TEST)
    return [
        Picture(image, folder / truth.imgs[image]["file_name"], objects[image])
        for image in shown[:COUNT]
    ]


def read_truth(track: Track) -> COCO:
    """The annotations of the test split, without what pycocotools prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(track.annotations(TEST)))


def objects_of(truth: COCO, image: int) -> list[dict]:
    """The annotations of an image without its crowds."""
    return truth.loadAnns(truth.getAnnIds([image], iscrowd=False))


def varied(objects: list[dict]) -> bool:
    """True for two to four objects, of which one is much larger than another."""
    areas = [thing["area"] for thing in objects]
    return OBJECTS[0] <= len(areas) <= OBJECTS[1] and max(areas) >= SIZES * min(areas)
