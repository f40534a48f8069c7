"""What the splits of a data set must have: the same classes, objects, and images of some width."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from icd.data.instances import class_names, image_extents, instances, why_left_out
from icd.data.reading import Reading, resized
from icd.errors import InputError


def require_classes(content: dict[str, Any], file: Path, classes: list[str], train: Path) -> None:
    """Raise InputError unless a split has the classes of the training split."""
    if class_names(content) != classes:
        raise InputError(file, "categories", f"differ from those of {train}", f"{classes}")


def require_objects(
    content: dict[str, Any], used: dict[str, Any], file: Path, reading: Reading
) -> None:
    """Raise InputError unless a split has an object, and say why none of its annotations is."""
    if instances(used):
        return
    extents = image_extents(used)
    reasons = Counter(
        why_left_out(annotation, *extents[annotation["image_id"]])
        if annotation["image_id"] in extents
        else f"in images with a side below {reading.smallest_side} pixels"
        for annotation in content["annotations"]
    )
    found = ", ".join(f"{number:,} {reason}" for reason, number in reasons.items())
    problem = f"hold no object among {len(content['annotations']):,} annotations: {found}"
    expected = "at least one without these marks (see docs/data.md)"
    if not reasons:
        problem, expected = "hold no object", "at least one"
    raise InputError(file, "annotations", problem, expected)


def require_sides(content: dict[str, Any], file: Path, reading: Reading, split: str) -> None:
    """Raise InputError if resizing leaves less than a pixel of an image's shorter side."""
    for image in content["images"]:
        for scale in reading.scales(split):
            width, height = resized(image["width"], image["height"], scale)
            if min(width, height) < 1:
                problem = f"{image['file_name']}, {image['width']} x {image['height']} pixels, "
                problem += f"becomes {width} x {height} at images.scale {list(scale)}"
                expected = "an image of another shape, cut into parts for example"
                raise InputError(file, f"images[id={image['id']}]", problem, expected)
