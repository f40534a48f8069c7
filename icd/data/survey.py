"""What a COCO-format data set holds: checked before any training, and the priors it implies."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from icd.errors import InputError
from icd.files import write_json
from icd.method.priors import compute_priors
from icd.suite.track import TRAIN, Track

COCO_FILE = "a COCO JSON file with images, annotations and categories"


def write_survey(track: Track, output: Path) -> None:
    """Check all splits of a track and write classes, counts and priors as JSON.

    Raises:
        InputError: names the annotation file, the key, and what would be right.
    """
    splits = {
        name: read_annotations(track.annotations(name)) for name in track.content["data"]["splits"]
    }
    classes = class_names(splits[TRAIN])
    for name, content in splits.items():
        if class_names(content) != classes:
            problem = f"differ from those of {track.annotations(TRAIN)}"
            raise InputError(track.annotations(name), "categories", problem, f"{classes}")
        _require_images(content, track.annotations(name), track.images(name))
    try:
        priors = compute_priors(relative_sizes(splits[TRAIN]), len(classes))
    except ValueError as error:
        file = track.annotations(TRAIN)
        raise InputError(file, "annotations", f"{error}", "at least one object") from error
    counts = {name: count_instances(content) for name, content in splits.items()}
    write_json(output, {"classes": classes, "splits": counts, "priors": asdict(priors)})


def read_annotations(file: Path) -> dict[str, Any]:
    """The content of a COCO annotation file, its structure checked."""
    try:
        content = json.loads(file.read_text())
    except OSError as error:
        raise InputError(file, "", f"cannot be read ({error.strerror})", COCO_FILE) from error
    except ValueError as error:
        raise InputError(file, "", f"is no JSON ({error})", COCO_FILE) from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise InputError(file, key, "is missing or no list", COCO_FILE)
    for key, fields in (
        ("images", ("id", "file_name", "width", "height")),
        ("annotations", ("id", "image_id", "category_id", "bbox")),
        ("categories", ("id", "name")),
    ):
        for i, entry in enumerate(content[key]):
            for field in fields:
                if not isinstance(entry, dict) or field not in entry:
                    raise InputError(file, f"{key}[{i}].{field}", "is missing", "this field")
    _require_references(content, file)
    return content


def _require_references(content: dict[str, Any], file: Path) -> None:
    """Boxes are four finite numbers; ids of images and categories exist."""
    images = {image["id"] for image in content["images"]}
    categories = {category["id"] for category in content["categories"]}
    for i, annotation in enumerate(content["annotations"]):
        for field, known in (("image_id", images), ("category_id", categories)):
            if annotation[field] not in known:
                key = f"annotations[{i}].{field}"
                raise InputError(file, key, f"{annotation[field]!r} is unknown", "a listed id")
        box = annotation["bbox"]
        if not (
            isinstance(box, list)
            and len(box) == 4
            and all(isinstance(x, (int, float)) and math.isfinite(x) for x in box)
        ):
            raise InputError(file, f"annotations[{i}].bbox", f"is {box!r}", "[x, y, width, height]")


def _require_images(content: dict[str, Any], file: Path, folder: Path) -> None:
    for i, image in enumerate(content["images"]):
        if not (folder / image["file_name"]).is_file():
            problem = f"{image['file_name']} is not in {folder}"
            raise InputError(file, f"images[{i}].file_name", problem, "an image file")


def class_names(content: dict[str, Any]) -> list[str]:
    """Names of the categories in the order of the file, which is that of the class indices."""
    return [category["name"] for category in content["categories"]]


def relative_sizes(content: dict[str, Any]) -> Iterator[tuple[int, float, float]]:
    """(class index, w / W, h / H) of every instance of a split, crowds left out."""
    labels = {category["id"]: i for i, category in enumerate(content["categories"])}
    extents = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    for annotation in instances(content):
        image_width, image_height = extents[annotation["image_id"]]
        _, _, width, height = annotation["bbox"]
        yield labels[annotation["category_id"]], width / image_width, height / image_height


def instances(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The annotations of single objects."""
    return [a for a in content["annotations"] if not a.get("iscrowd", 0)]


def count_instances(content: dict[str, Any]) -> dict[str, Any]:
    """Number of images, of objects, and of objects by class and by COCO's size ranges."""
    names = {category["id"]: category["name"] for category in content["categories"]}
    per_class = dict.fromkeys(names.values(), 0)
    per_size = {"small": 0, "medium": 0, "large": 0}
    for annotation in instances(content):
        area = annotation.get("area", annotation["bbox"][2] * annotation["bbox"][3])
        size = "small" if area < 32**2 else "medium" if area < 96**2 else "large"
        per_size[size] += 1
        per_class[names[annotation["category_id"]]] += 1
    return {
        "images": len(content["images"]),
        "objects": sum(per_size.values()),
        "by_size": per_size,
        "by_class": per_class,
    }
