"""COCO annotation files: checked when read; optional fields filled in."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hotcoco import mask as strict_masks
from pycocotools import mask as masks

from icd.errors import InputError

COCO_FILE = "a COCO JSON file with images, annotations and categories"
LARGEST_SIDE = 2**20  # pixels; OpenCV reads no larger image
LARGEST_ID = 2**63  # ids are 64-bit integers in pycocotools and hotcoco
FAR = 10  # coordinates may be so many sides of the image away; drawing farther takes memory


def is_number(value: Any) -> bool:
    """True for a finite number of plausible size; False for NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e12


def is_whole(value: Any) -> bool:
    """True for a whole number."""
    return is_number(value) and isinstance(value, int)


def is_box(value: Any) -> bool:
    """True for four numbers."""
    return isinstance(value, list) and len(value) == 4 and all(map(is_number, value))


def is_segmentation(value: Any) -> bool:
    """True for polygons, a run-length code, or nothing."""
    if isinstance(value, dict):
        size, counts = value.get("size"), value.get("counts")
        fits = isinstance(size, list) and len(size) == 2 and all(map(is_whole, size))
        return fits and isinstance(counts, list | str)
    return value is None or (
        isinstance(value, list)
        and all(
            isinstance(part, list) and {int, float}.issuperset(map(type, part)) for part in value
        )
    )


def is_id(value: Any) -> bool:
    """True for a whole number from 0 that fits 64 bits, e.g. a time stamp of 14 digits."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST_ID


def is_flag(value: Any) -> bool:
    """True for 0 and 1, also as 0.0 or false."""
    return isinstance(value, (int, float)) and value in (0, 1)


Field = tuple[Callable[[Any], bool], str]
ID: Field = (is_id, "a whole number from 0 of at most 64 bits")
FLAG: Field = (is_flag, "0 or 1")
PIXELS: Field = (
    lambda value: is_number(value) and 0 < value <= LARGEST_SIDE,
    f"a positive number of pixels to {LARGEST_SIDE}",
)

# The fields that mmdet and evaluators read: a check, and the same in words.
FIELDS: dict[str, dict[str, Field]] = {
    "images": {
        "id": ID,
        "file_name": (lambda value: isinstance(value, str), "a path inside the image folder"),
        "width": PIXELS,
        "height": PIXELS,
    },
    "annotations": {
        "id": ID,
        "image_id": ID,
        "category_id": ID,
        "bbox": (is_box, "[x, y, width, height], four numbers"),
        "area": (is_number, "a number of square pixels"),
        "iscrowd": FLAG,
        "segmentation": (
            is_segmentation,
            "polygons [[x, y, x, y, ...], ...] or a run-length code {size, counts}",
        ),
    },
    "categories": {
        "id": ID,
        "name": (lambda value: isinstance(value, str), "a text"),
    },
}
OPTIONAL = ("id", "area", "iscrowd", "segmentation")  # of an annotation, see complete()
UNIQUE = (("images", "id"), ("categories", "id"), ("categories", "name"))


def read_annotations(file: Path) -> dict[str, Any]:
    """The content of a COCO annotation file, after a check of its structure."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(file, "", f"cannot be read ({error.strerror})", COCO_FILE) from error
    except ValueError as error:
        encoding = "in UTF-8 without a byte order mark"
        raise InputError(
            file, "", f"is not valid JSON ({error})", f"{COCO_FILE}, {encoding}"
        ) from error
    for key, fields in FIELDS.items():
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise InputError(file, key, "is missing or not a list", COCO_FILE)
        for i, entry in enumerate(content[key]):
            _require_fields(entry, fields, file, f"{key}[{i}]")
    _require_flags(content, file)
    _require_different_ids(content, file)
    _require_references(content, file)
    _require_near_shapes(content, file)
    _require_whole_masks(content, file)
    return content


def _require_fields(entry: Any, fields: dict[str, Field], file: Path, key: str) -> None:
    """Raise InputError unless an image, annotation or category has the right fields."""
    for field, (fits, expected) in fields.items():
        optional = key.startswith("annotations") and field in OPTIONAL
        if optional and isinstance(entry, dict) and field not in entry:
            continue
        if not isinstance(entry, dict) or field not in entry:
            raise InputError(file, f"{key}.{field}", "is missing", expected)
        if not fits(entry[field]):
            problem = f"is {reprlib.repr(entry[field])}"
            raise InputError(file, f"{key}.{field}", problem, expected)


def _require_flags(content: dict[str, Any], file: Path) -> None:
    """Raise InputError if an annotation's ``ignore``, an extension of COCO, is not 0 or 1."""
    for i, annotation in enumerate(content["annotations"]):
        value = annotation.get("ignore", 0)
        if value is not None and not is_flag(value):
            problem = f"is {reprlib.repr(value)}"
            raise InputError(file, f"annotations[{i}].ignore", problem, FLAG[1])


def _require_different_ids(content: dict[str, Any], file: Path) -> None:
    """Raise InputError if two entries share an id, or two categories a name."""
    for key, field in UNIQUE:
        seen: set[Any] = set()
        for i, entry in enumerate(content[key]):
            if entry[field] in seen:
                problem = f"is {entry[field]!r} a second time"
                raise InputError(file, f"{key}[{i}].{field}", problem, "a value of its own")
            seen.add(entry[field])


def _require_references(content: dict[str, Any], file: Path) -> None:
    """Raise InputError if an annotation names an image or category that is not listed."""
    images = {image["id"] for image in content["images"]}
    categories = {category["id"] for category in content["categories"]}
    for i, annotation in enumerate(content["annotations"]):
        for field, known in (("image_id", images), ("category_id", categories)):
            if annotation[field] not in known:
                key = f"annotations[{i}].{field}"
                raise InputError(file, key, f"{annotation[field]!r} is unknown", "a listed id")


def _require_near_shapes(content: dict[str, Any], file: Path) -> None:
    """Raise InputError for points that are NaN or so far outside that drawing takes all memory."""
    limits = {
        image["id"]: FAR * max(image["width"], image["height"]) for image in content["images"]
    }
    for i, annotation in enumerate(content["annotations"]):
        limit = limits[annotation["image_id"]]
        expected = f"numbers of pixels from {-limit:g} to {limit:g}, near its image"
        if not _are_near(annotation["bbox"], limit):
            problem = f"is {annotation['bbox']}"
            raise InputError(file, f"annotations[{i}].bbox", problem, expected)
        for part in polygons(annotation):
            if not _are_near(part, limit):
                problem = f"has the point {_far_point(part, limit)}"
                raise InputError(file, f"annotations[{i}].segmentation", problem, expected)


def _are_near(values: list[float], limit: float) -> bool:
    """True for finite numbers of this size at most."""
    return -limit <= min(values) and max(values) <= limit and math.isfinite(sum(values))


def _far_point(part: list[float], limit: float) -> list[float]:
    """The first point [x, y] of a polygon that is not within ``limit``."""
    points = [part[i : i + 2] for i in range(0, len(part), 2)]
    return next(p for p in points if not all(abs(value) <= limit for value in p))


def _require_whole_masks(content: dict[str, Any], file: Path) -> None:
    """Raise InputError unless run-length codes have the size of their images."""
    sizes = {image["id"]: [image["height"], image["width"]] for image in content["images"]}
    for i, annotation in enumerate(content["annotations"]):
        code, size = annotation.get("segmentation"), sizes[annotation["image_id"]]
        if not isinstance(code, dict):
            continue
        key = f"annotations[{i}].segmentation"
        if code["size"] != size:
            expected = f"{size}, height and width of its image"
            raise InputError(file, f"{key}.size", f"is {code['size']}", expected)
        pixels = math.prod(code["size"])
        if not _covers(code["counts"], pixels):
            expected = f"lengths of runs, whole numbers from 0, of {pixels} pixels together"
            problem = f"is {reprlib.repr(code['counts'])}"
            raise InputError(file, f"{key}.counts", problem, expected)


def _covers(counts: list[Any] | str, pixels: int) -> bool:
    """True for run lengths, packed or not, that sum to ``pixels``."""
    if isinstance(counts, str):
        return _fits(counts, pixels) and not _fits(counts, pixels - 1)
    return all(is_whole(length) and length >= 0 for length in counts) and sum(counts) == pixels


def _fits(counts: str, pixels: int) -> bool:
    """True for packed run lengths of at most ``pixels``; pycocotools reads any text."""
    try:
        strict_masks.rle_from_string(counts, 1, pixels)
    except (ValueError, OverflowError):
        return False
    return True


def complete(content: dict[str, Any]) -> dict[str, int]:
    """Fill in, in place, fields that mmdet and pycocotools need and many files omit.

    ``iscrowd`` becomes 0 or 1 as an integer, 0 if it is missing. ``area`` becomes that of the mask
    or, without a mask, of the box. If an annotation's ``id`` is 0 (pycocotools takes it for no
    object), repeated or missing, all annotations are numbered from 1, in the order of the file.

    Returns:
        Number of annotations without ``area``, without ``iscrowd``, and with a new ``id``.
    """
    images = {image["id"]: image for image in content["images"]}
    filled = {"area": 0, "iscrowd": 0, "id": renumber(content["annotations"])}
    for annotation in content["annotations"]:
        filled["iscrowd"] += "iscrowd" not in annotation
        annotation["iscrowd"] = int(annotation.get("iscrowd", 0))
        if "area" not in annotation:
            filled["area"] += 1
            annotation["area"] = _area(annotation, images[annotation["image_id"]])
    return filled


def renumber(annotations: list[dict[str, Any]]) -> int:
    """Number annotations from 1, in place, unless their ids are positive and different.

    Returns:
        Number of annotations with a new id.
    """
    ids = [annotation.get("id", 0) for annotation in annotations]
    if min(ids, default=1) > 0 and len(set(ids)) == len(ids):
        return 0
    for number, annotation in enumerate(annotations, 1):
        annotation["id"] = number
    return len(annotations)


def _area(annotation: dict[str, Any], image: dict[str, Any]) -> float:
    """Square pixels of an annotation's mask, else of its box."""
    code = run_lengths(annotation, image)
    if code is not None:
        return float(masks.area(code))
    _, _, width, height = annotation["bbox"]
    return width * height if min(width, height) > 0 else 0


def run_lengths(annotation: dict[str, Any], image: dict[str, Any]) -> dict[str, Any] | None:
    """The mask of an annotation as pycocotools' compressed run-length code, or None."""
    size = int(image["height"]), int(image["width"])
    mask = annotation.get("segmentation")
    if isinstance(mask, dict):
        return masks.frPyObjects(mask, *size) if isinstance(mask["counts"], list) else mask
    parts = polygons(annotation)
    return masks.merge(masks.frPyObjects(parts, *size)) if parts else None


def mask_of(annotation: dict[str, Any]) -> dict[str, Any] | list[list[float]]:
    """The run-length code of an annotation, or its polygons; empty if it has no mask."""
    mask = annotation.get("segmentation")
    return mask if isinstance(mask, dict) else polygons(annotation)


def polygons(annotation: dict[str, Any]) -> list[list[float]]:
    """The polygons of an annotation, each [x, y, x, y, ...], that enclose an area."""
    mask = annotation.get("segmentation")
    parts = mask if isinstance(mask, list) else []
    return [part for part in parts if len(part) >= 6 and len(part) % 2 == 0]
