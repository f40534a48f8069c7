"""A label file of YOLO: boxes and polygons as fractions of one image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from icd.errors import InputError
from icd.new_track.parts import box_annotation

LINE = "a class, then x, y, width and height, or a polygon x y x y ..., as fractions of the image"


def label_file(image: Path) -> Path | None:
    """The label file of an image: ``labels`` in place of ``images`` in its path, or beside it."""
    parts = list(image.parent.parts)
    places = [image.parent]
    if "images" in parts:
        place = len(parts) - 1 - parts[::-1].index("images")
        places.insert(0, Path(*parts[:place], "labels", *parts[place + 1 :]))
    files = [place / f"{image.stem}.txt" for place in places]
    return next((file for file in files if file.is_file()), None)


def read_labels(
    file: Path, classes: int, width: int, height: int
) -> Iterator[dict[str, Any] | None]:
    """The annotations in a label file; None for a box of which nothing is in the image."""
    for place, line in enumerate(file.read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            label, *numbers = [float(word) for word in line.split()]
        except ValueError as error:
            raise InputError(file, f"line {place}", f"is {line!r}", LINE) from error
        if not 0 <= label < classes or label != int(label):
            expected = f"a number of one of the {classes} classes, which count from 0"
            raise InputError(file, f"line {place}", f"has the class {label:g}", expected)
        if len(numbers) == 4:
            x, y, w, h = numbers
            polygon: list[float] = []
            box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
        elif len(numbers) >= 6 and len(numbers) % 2 == 0:
            polygon = numbers
            box = [min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])]
        else:
            raise InputError(file, f"line {place}", f"has {len(numbers)} numbers", LINE)
        scale = [width, height] * (len(polygon) // 2)
        shape = [a * b for a, b in zip(box, [width, height] * 2, strict=True)]
        entry = box_annotation(shape, width, height)
        if entry and polygon:
            corners = [round(a * b, 2) for a, b in zip(polygon, scale, strict=True)]
            entry["segmentation"] = [corners]
            entry["area"] = round(_area(corners), 2)
        yield {"category_id": int(label) + 1, **entry} if entry else None


def _area(corners: list[float]) -> float:
    """Area of a polygon [x, y, x, y, ...] (the shoelace formula)."""
    x, y = corners[::2], corners[1::2]
    return abs(sum(x[i - 1] * y[i] - x[i] * y[i - 1] for i in range(len(x)))) / 2
