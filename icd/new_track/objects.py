"""The column of objects of a Hugging Face data set, in the forms in which it is found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from icd.errors import InputError

LABELS = ("category", "categories", "label", "labels", "category_id", "class", "classes")
OBJECTS = "a column `objects` with `bbox` and `category` of each object"


def label_column(objects: Any, folder: Path) -> tuple[str, list[str]]:
    """The column of the objects' classes, and the names that the data set has for them, if any."""
    fields = fields_of(objects)
    if "bbox" not in fields:
        raise InputError(folder, "objects.bbox", f"is not among {[*fields]}", OBJECTS)
    key = next((name for name in LABELS if name in fields), None)
    if key is None:
        raise InputError(folder, "objects.category", f"is not among {[*fields]}", OBJECTS)
    label = fields[key]
    label = getattr(label, "feature", label)
    label = label[0] if isinstance(label, list) else label
    return key, list(getattr(label, "names", None) or [])


def fields_of(objects: Any) -> Mapping[str, Any]:
    """The fields of an object: of a list of objects, or of an object of lists."""
    objects = getattr(objects, "feature", objects)
    objects = objects[0] if isinstance(objects, list) else objects
    return objects if isinstance(objects, Mapping) else {}


def columns(objects: Any) -> Mapping[str, Any]:
    """The objects of a row as lists by field."""
    if isinstance(objects, Mapping):
        return objects
    keys = objects[0] if objects else ()
    return {key: [entry[key] for entry in objects] for key in keys}


def class_names(labels: Iterable[list[Any]]) -> list[str]:
    """Names of classes that the data set does not name: the labels themselves, or their numbers."""
    known = {label for found in labels for label in found}
    if all(isinstance(label, int) for label in known):
        return [f"class {i}" for i in range(max(known, default=-1) + 1)]
    return sorted(map(str, known))


def index(label: Any, classes: list[str]) -> int:
    """Place of an object's class among the names."""
    return label if isinstance(label, int) else classes.index(str(label))
