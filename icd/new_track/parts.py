"""What is found in a folder of data: parts of it, in COCO's format, that become splits."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from icd.data.images import READERS, Header, read_header
from icd.data.instances import instances
from icd.experiments.splits import TEST, TRAIN
from icd.progress import counted

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
VALIDATION = "validation"
# What folders and files of splits are called, besides names such as train2017.
WORDS = {
    TRAIN: ("train", "training", "trainval"),
    VALIDATION: ("val", "valid", "validation", "dev", "tune"),
    TEST: ("test", "testing"),
}
Size = tuple[int, int]  # width and height in pixels


@dataclass
class Part:
    """A part of the data.

    name: where it comes from, for messages.
    use: train, validation or test, as its name says; empty if it says nothing.
    content: complete COCO images, annotations and categories; ``file_name`` is relative to
        ``images``.
    images: folder of the images.
    file: annotation file with this very content; None if there is none yet.
    missing: number of images that do not exist.
    """

    name: str
    use: str
    content: dict[str, Any]
    images: Path
    file: Path | None = None
    missing: int = 0

    @property
    def objects(self) -> int:
        """Number of annotations that detectors learn."""
        return len(instances(self.content))

    @property
    def classes(self) -> list[str]:
        """Names of its categories."""
        return [category["name"] for category in self.content["categories"]]

    @property
    def paths(self) -> set[Path]:
        """Its images."""
        return {self.images / image["file_name"] for image in self.content["images"]}


@dataclass
class Found:
    """The data in a folder.

    form: in words, e.g. "COCO JSON".
    root: folder with the images of all parts in it or below.
    parts: in the order of their names.
    notes: what a user should know or mend, a line each.
    """

    form: str
    root: Path
    parts: list[Part]
    notes: list[str] = field(default_factory=list)


def use_of(*names: str) -> str:
    """The use of a part by the names of its folders and files; the last that says one decides."""
    for name in reversed(names):
        words = re.findall("[a-z]+", name.lower())
        for use, known in WORDS.items():
            if set(known) & set(words):
                return use
    return ""


def files_below(folder: Path, *kinds: str) -> list[Path]:
    """Files with one of these suffixes, in the order of their paths.

    Links to folders are followed, because image folders are often links. Hidden ones are left out.
    """
    found: list[Path] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:  # a link to a folder above it
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = (Path(place, name) for name in names if not name.startswith("."))
        found += [file for file in files if file.suffix.lower() in kinds]
    return sorted(found)


def image_files(folder: Path) -> list[Path]:
    """All images in a folder and below it, in the order of their paths."""
    return files_below(folder, *IMAGES)


def number(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries with ids from 1."""
    return [{"id": i, **entry} for i, entry in enumerate(entries, 1)]


def coco(
    images: Iterable[dict[str, Any]], annotations: Iterable[dict[str, Any]], names: Iterable[str]
) -> dict[str, Any]:
    """The content of a COCO file; images, annotations and the named categories count from 1."""
    return {
        "images": number(images),
        "annotations": number(annotations),
        "categories": number({"name": name} for name in names),
    }


def box_annotation(box: Iterable[float], width: int, height: int) -> dict[str, Any] | None:
    """COCO's entries of a box [left, top, right, bottom], cut at its image.

    Coordinates are rounded to hundredths of a pixel. None if they are not finite, or if less than a
    pixel of a side is left.
    """
    left, top, right, bottom = box
    if not all(map(math.isfinite, (left, top, right, bottom))):
        return None
    left, right = max(0.0, left), min(float(width), right)
    top, bottom = max(0.0, top), min(float(height), bottom)
    if right - left < 1 or bottom - top < 1:
        return None
    shape = [round(value, 2) for value in (left, top, right - left, bottom - top)]
    return {"bbox": shape, "area": round(shape[2] * shape[3], 2), "iscrowd": 0}


def upright_sizes(files: Sequence[Path]) -> list[Size | str]:
    """Width and height of each image as training reads it, or why it cannot be read."""
    with ThreadPoolExecutor(READERS) as pool:
        headers = counted(pool.map(read_header, files), len(files), "image sizes read")
        return [(one.width, one.height) if isinstance(one, Header) else one for one in headers]


def left_out_notes(name: str, unread: Sequence[str], outside: int) -> list[str]:
    """Notes on images and boxes that a conversion leaves out.

    Args:
        name: of the part.
        unread: images that cannot be read.
        outside: number of boxes of which less than a pixel is in their image.
    """
    notes = []
    if unread:
        notes.append(f"{name}: images left out, because they cannot be read: {some(unread)}")
    if outside:
        notes.append(f"{name}: boxes left out, below a pixel or outside their image: {outside:,}")
    return notes


def some(names: Sequence[str]) -> str:
    """How many names there are, and the first of them."""
    return f"{len(names):,}, such as {names[0]}" if len(names) > 1 else names[0]
