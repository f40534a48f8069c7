"""What a COCO-format data set holds: checked before any training, and the priors it implies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from icd.data.annotations import read_annotations
from icd.errors import InputError
from icd.files import sha256, write_json
from icd.method.priors import compute_priors
from icd.suite.track import TRAIN, Track


def write_survey(track: Track, output: Path) -> None:
    """Check all splits of a track and write classes, hashes, counts and priors as JSON.

    Raises:
        InputError: names the annotation file, the key, and what would be right.
    """
    track.require_files()
    splits = {
        name: read_annotations(track.annotations(name)) for name in track.content["data"]["splits"]
    }
    classes = class_names(splits[TRAIN])
    for name, content in splits.items():
        file = track.annotations(name)
        if class_names(content) != classes:
            problem = f"differ from those of {track.annotations(TRAIN)}"
            raise InputError(file, "categories", problem, f"{classes}")
        if not instances(content):
            raise InputError(file, "annotations", "hold no object", "at least one")
        _require_images(content, file, track.images(name))
    priors = compute_priors(relative_sizes(splits[TRAIN]), len(classes))
    counts = {
        name: {"sha256": sha256(track.annotations(name)), **count_instances(content)}
        for name, content in splits.items()
    }
    write_json(output, {"classes": classes, "splits": counts, "priors": asdict(priors)})


def _require_images(content: dict[str, Any], file: Path, folder: Path) -> None:
    for i, image in enumerate(content["images"]):
        if not (folder / image["file_name"]).is_file():
            problem = f"{image['file_name']} is not in {folder}"
            raise InputError(file, f"images[{i}].file_name", problem, "an image file")


def class_names(content: dict[str, Any]) -> list[str]:
    """Names of the categories in the order of the file, which is that of the class indices."""
    return [category["name"] for category in content["categories"]]


def relative_sizes(content: dict[str, Any]) -> Iterator[tuple[int, float, float]]:
    """(class index, w / W, h / H) of every instance of a split."""
    labels = {category["id"]: i for i, category in enumerate(content["categories"])}
    extents = image_extents(content)
    for annotation in instances(content):
        image_width, image_height = extents[annotation["image_id"]]
        _, _, width, height = annotation["bbox"]
        yield labels[annotation["category_id"]], width / image_width, height / image_height


def instances(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The annotations that detectors learn as objects, which mmdet's CocoDataset selects.

    Left out are crowds, what is marked as ignored, and boxes that are less than a pixel wide or
    high or lie outside of their image.
    """
    extents = image_extents(content)
    return [
        annotation
        for annotation in content["annotations"]
        if not (annotation["iscrowd"] or annotation.get("ignore"))
        and is_visible(annotation, *extents[annotation["image_id"]])
    ]


def is_visible(annotation: dict[str, Any], image_width: float, image_height: float) -> bool:
    """True if an annotation's box covers at least a pixel and part of it is in the image."""
    x, y, width, height = annotation["bbox"]
    return (
        annotation["area"] > 0
        and min(width, height) >= 1
        and min(x + width, image_width) > max(x, 0)
        and min(y + height, image_height) > max(y, 0)
    )


def image_extents(content: dict[str, Any]) -> dict[int, tuple[float, float]]:
    """Width and height in pixels of every image by its id."""
    return {image["id"]: (image["width"], image["height"]) for image in content["images"]}


def count_instances(content: dict[str, Any]) -> dict[str, Any]:
    """Number of images, of objects, and of objects by class and by COCO's size ranges.

    ``ignored`` counts the annotations that :func:`instances` leaves out.
    """
    names = {category["id"]: category["name"] for category in content["categories"]}
    per_class = dict.fromkeys(names.values(), 0)
    per_size = {"small": 0, "medium": 0, "large": 0}
    found = instances(content)
    for annotation in found:
        area = annotation["area"]
        size = "small" if area < 32**2 else "medium" if area < 96**2 else "large"
        per_size[size] += 1
        per_class[names[annotation["category_id"]]] += 1
    return {
        "images": len(content["images"]),
        "objects": len(found),
        "ignored": len(content["annotations"]) - len(found),
        "by_size": per_size,
        "by_class": per_class,
    }
