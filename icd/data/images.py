"""The image files of a split: all headers and contents, and the pixels of a sample or of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from icd.data.annotations import COCO_FILE
from icd.data.contents import Content, contents_sha256, listing_sha256
from icd.data.made import left_out
from icd.data.pixels import read_image, read_images, reason
from icd.errors import InputError
from icd.files import read_json, sha256

READERS = 8  # threads, because files may lie on a network
DECODED = 200  # size of the sample of a split whose pixels are read
NAMED = 5  # images that an error message names
ROTATE = ("JPEG", "MPO", "PNG")  # formats that OpenCV rotates by their EXIF orientation
WHOLE_IMAGE = "a complete image file: an image of 8 or 16 bits"
DARK = 15  # of 255: the largest value of an image that uses 12 of its 16 bits


@dataclass(frozen=True)
class Header:
    """Header of an image file; width and height as training reads it, after rotation."""

    format: str
    mode: str
    width: int
    height: int
    orientation: int

    @property
    def sixteen_bits(self) -> bool:
        return self.mode.startswith("I")


class Problem(NamedTuple):
    """Why an image of the annotation file cannot be used, and the remedy."""

    place: int
    text: str
    expected: str


class ImagesSurvey(NamedTuple):
    """What the images of a split are.

    summary: ``formats`` (number of images by format and mode), ``turned`` (number of images with an
        EXIF orientation), ``decoded`` (number of images whose pixels were read).
    digests: sha256 of each file by its name.
    """

    summary: dict[str, Any]
    digests: dict[str, str]


def survey_images(
    content: dict[str, Any],
    file: Path,
    folder: Path,
    decode_all: bool = False,
    memory: Path | None = None,
) -> ImagesSurvey:
    """Read all images of a split: headers and contents, and the pixels of a sample or of all.

    Args:
        content: content of the annotation file ``file``.
        folder: folder of the images.
        decode_all: read the pixels of every image.
        memory: file of the images that were read before, see :mod:`icd.data.contents`.

    Raises:
        InputError: names images that are missing, broken, unreadable for training, or of another
            size than the annotation file says.
    """
    images = content["images"]
    names = [image["file_name"] for image in images]
    with ThreadPoolExecutor(READERS) as pool:
        read = list(pool.map(read_header, (folder / name for name in names)))
        _refuse(_unlike_annotations(images, read, folder), file)
        headers = [header for header in read if isinstance(header, Header)]
    chosen = range(len(images)) if decode_all else _sample(headers)
    annotations = sha256(file) if memory else None
    found, _ = read_images(names, folder, memory, annotations, chosen, renew=True)
    _refuse(_undecodable(content, file, found), file)
    contents = [one for one in found if isinstance(one, Content)]
    brightest = {i: contents[i].brightest or 0 for i in chosen}
    _refuse(_too_dark(names, headers, brightest), file)
    summary = {
        "formats": dict(Counter(f"{header.format} {header.mode}" for header in headers)),
        "turned": sum(header.orientation != 1 for header in headers),
        "decoded": len(chosen),
    }
    digests = {name: one.sha256 for name, one in zip(names, contents, strict=True)}
    return ImagesSurvey(summary, digests)


def broken_images(
    content: dict[str, Any], folder: Path, memory: Path | None = None
) -> dict[str, str]:
    """Why images of a split cannot be read, by their names; empty if all can.

    Args:
        content: content of the annotation file.
        folder: folder of the images.
        memory: file of the images that were read before, see :mod:`icd.data.contents`.
    """
    names = [image["file_name"] for image in content["images"]]
    found, _ = read_images(names, folder, memory)
    return {name: one for name, one in zip(names, found, strict=True) if isinstance(one, str)}


class ImageHashes(NamedTuple):
    """Which images these are.

    listing: hash of names and sizes, as of earlier versions.
    contents: hash of names and contents.
    """

    listing: str
    contents: str


def require_images(file: Path, folder: Path, memory: Path | None = None) -> ImageHashes:
    """Read all images, with their pixels, that a training or an evaluation uses.

    Args:
        file: the annotation file that lists them.
        folder: folder of the images.
        memory: file of the images that were read before, see :mod:`icd.data.contents`.

    Raises:
        InputError: names images that cannot be read.
    """
    annotations = sha256(file)
    content = read_json(file, COCO_FILE)
    names = [image["file_name"] for image in content["images"]]
    found, states = read_images(names, folder, memory, annotations)
    _refuse(_undecodable(content, file, found), file)
    digests = {
        name: one.sha256 for name, one in zip(names, found, strict=True) if isinstance(one, Content)
    }
    sizes = [size for size, *_ in states]
    return ImageHashes(listing_sha256(names, sizes), contents_sha256(digests))


def require_image(path: Path) -> np.ndarray:
    """Pixels as of :func:`read_image`.

    Raises:
        InputError: the image cannot be read.
    """
    pixels = read_image(path)
    if pixels is None:
        raise InputError(path, "", "cannot be decoded", WHOLE_IMAGE)
    return pixels


def read_header(path: Path) -> Header | str:
    """The header of an image file, or why it cannot be read."""
    try:
        with Image.open(path) as image:
            # Not the format's own method: that of PNG reads all pixels.
            exif = Image.Image.getexif(image) if image.format in ROTATE else {}
            orientation = exif.get(ExifTags.Base.Orientation, 1)
            size = image.size[::-1] if orientation in (5, 6, 7, 8) else image.size
            return Header(image.format or "unknown", image.mode, *size, orientation)
    except Exception as error:  # a damaged file can make Pillow raise anything
        return reason(error)


def _sample(headers: Sequence[Header]) -> list[int]:
    """Places of images: evenly spaced ones, and the first of every format and mode."""
    spread = np.linspace(0, len(headers) - 1, min(len(headers), DECODED)).astype(int).tolist()
    first = {(headers[i].format, headers[i].mode): i for i in reversed(range(len(headers)))}
    return sorted({*spread, *first.values()})


def _unlike_annotations(
    images: list[dict[str, Any]], headers: Sequence[Header | str], folder: Path
) -> Iterable[Problem]:
    """Images that are missing, unreadable, or of another size than annotated."""
    for i, (image, header) in enumerate(zip(images, headers, strict=True)):
        name = image["file_name"]
        if isinstance(header, str):
            there = (folder / name).is_file()
            problem = f"cannot be read ({header})" if there else f"is not in {folder}"
            yield Problem(i, f"{name} {problem}", "an image file")
        elif (header.width, header.height) != (image["width"], image["height"]):
            text = f"{name} is {header.width} x {header.height} pixels"
            if header.orientation != 1:
                text += (
                    f" when turned upright (EXIF orientation {header.orientation}), as it is read"
                )
            expected = f"{image['width']} x {image['height']}, as this entry's width and height say"
            yield Problem(i, text, expected)


def _undecodable(
    content: dict[str, Any], file: Path, read: Sequence[Content | str]
) -> Iterable[Problem]:
    """Images whose content or pixels cannot be read."""
    remedy = "skip_broken: true for this split, which leaves it out"
    if left_out(content) is not None:
        remedy = f"delete {file}, and it is made again without the image"
    for i, (image, found) in enumerate(zip(content["images"], read, strict=True)):
        if isinstance(found, str):
            text = f"{image['file_name']} cannot be decoded ({found})"
            yield Problem(i, text, f"{WHOLE_IMAGE}; or {remedy}")


def _too_dark(
    names: Sequence[str], headers: Sequence[Header], brightest: Mapping[int, int]
) -> Iterable[Problem]:
    """16-bit images, if the upper 8 bits, which training reads, are almost black in all of them."""
    values = {i: value for i, value in brightest.items() if headers[i].sixteen_bits}
    if values and max(values.values()) <= DARK:
        for i, value in values.items():
            text = f"{names[i]} has 16 bits, and in the upper 8, which are read, "
            text += f"no more than {value} of 255"
            yield Problem(i, text, "values up to 65535, or an image of 8 bits")


def _refuse(problems: Iterable[Problem], file: Path) -> None:
    """Raise InputError with the first problem in full and the names of more."""
    found = list(problems)
    if found:
        first, *more = found
        text = first.text
        if more:
            named = "; ".join(problem.text for problem in more[: NAMED - 1])
            text += f" (and {len(more)} more: {named}{'; ...' * (len(more) >= NAMED)})"
        raise InputError(file, f"images[{first.place}].file_name", text, first.expected)
