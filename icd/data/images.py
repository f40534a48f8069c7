"""The image files of a split: all headers, and the pixels of a sample or of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from icd.data.pixels import read_image, read_pixels, reason
from icd.errors import InputError

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


def survey_images(
    content: dict[str, Any],
    file: Path,
    folder: Path,
    decode_all: bool = False,
    memory: Path | None = None,
) -> dict[str, Any]:
    """Read the headers of all images of a split and the pixels of a sample, or of all.

    Args:
        content: content of the annotation file ``file``.
        folder: folder of the images.
        decode_all: read the pixels of every image.
        memory: file of the images that were read before, see :func:`icd.data.pixels.read_pixels`.

    Returns:
        ``formats`` (number of images by format and mode), ``turned`` (number of images with an
        EXIF orientation), ``decoded`` (number of images whose pixels were read).

    Raises:
        InputError: names images that are missing, broken, unreadable for training, or of another
            size than the annotation file says.
    """
    images = content["images"]
    paths = [folder / image["file_name"] for image in images]
    with ThreadPoolExecutor(READERS) as pool:
        read = list(pool.map(read_header, paths))
        _refuse(_unlike_annotations(images, read, folder), file)
        headers = [header for header in read if isinstance(header, Header)]
    chosen = range(len(images)) if decode_all else _sample(headers)
    decoded = read_pixels([paths[i] for i in chosen], memory)
    _refuse(_undecodable(images, chosen, decoded), file)
    brightest = [value for value in decoded if isinstance(value, int)]
    _refuse(_too_dark(images, headers, chosen, brightest), file)
    return {
        "formats": dict(Counter(f"{header.format} {header.mode}" for header in headers)),
        "turned": sum(header.orientation != 1 for header in headers),
        "decoded": len(chosen),
    }


def require_pixels(names: Sequence[str], paths: Sequence[Path], file: Path, memory: Path) -> None:
    """Read the pixels of all images that a training uses.

    Args:
        names: what the annotation file ``file`` calls them.
        paths: the image files.
        memory: file of the images that were read before, see :func:`icd.data.pixels.read_pixels`.

    Raises:
        InputError: names images whose pixels cannot be read.
    """
    images = [{"file_name": name} for name in names]
    read = read_pixels(paths, memory)
    _refuse(_undecodable(images, range(len(names)), read), file, "images")


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
    images: list[dict[str, Any]], chosen: Sequence[int], brightest: Sequence[int | str]
) -> Iterable[Problem]:
    """Images whose pixels cannot be read."""
    for i, value in zip(chosen, brightest, strict=True):
        if isinstance(value, str):
            text = f"{images[i]['file_name']} cannot be decoded ({value})"
            yield Problem(i, text, WHOLE_IMAGE)


def _too_dark(
    images: list[dict[str, Any]],
    headers: Sequence[Header],
    chosen: Sequence[int],
    brightest: Sequence[int],
) -> Iterable[Problem]:
    """16-bit images, if the upper 8 bits, which training reads, are almost black in all of them."""
    values = {
        i: value for i, value in zip(chosen, brightest, strict=True) if headers[i].sixteen_bits
    }
    if values and max(values.values()) <= DARK:
        for i, value in values.items():
            text = f"{images[i]['file_name']} has 16 bits, and in the upper 8, which are read, "
            text += f"no more than {value} of 255"
            yield Problem(i, text, "values up to 65535, or an image of 8 bits")


def _refuse(
    problems: Iterable[Problem], file: Path, key: str = "images[{place}].file_name"
) -> None:
    """Raise InputError with the first problem in full and the names of more."""
    found = list(problems)
    if found:
        first, *more = found
        text = first.text
        if more:
            named = "; ".join(problem.text for problem in more[: NAMED - 1])
            text += f" (and {len(more)} more: {named}{'; ...' * (len(more) >= NAMED)})"
        raise InputError(file, key.format(place=first.place), text, first.expected)
