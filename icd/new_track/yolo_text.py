"""YOLO's text files, one for each image: ``class x y width height`` as fractions of the image."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from icd.errors import InputError
from icd.new_track.parts import (
    VALIDATION,
    Found,
    Part,
    coco,
    files_below,
    image_files,
    left_out_notes,
    upright_sizes,
)
from icd.new_track.yolo_labels import label_file, read_labels

FORM = "YOLO text files"
USES = {"train": "train", "val": VALIDATION, "valid": VALIDATION, "test": "test"}
LISTS = ("classes.txt", "obj.names", "_darknet.labels")


def find(folder: Path, images: Path) -> Found | None:
    """The data in a folder of YOLO's format; None if it has another. ``images`` is not used."""
    for file in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        content = _load(file)
        if isinstance(content, dict) and "names" in content:
            return _by_yaml(folder, file, content)
    labels = [file for file in files_below(folder, ".txt") if file.name not in LISTS]
    pictures = {file.stem for file in image_files(folder)}
    if not any(file.stem in pictures for file in labels):
        return None
    names = next((file for name in LISTS for file in sorted(folder.rglob(name))), None)
    if names is None:
        problem, expected = "has label files, but no names of classes", "a data.yaml with names"
        raise InputError(folder, "", problem, f"{expected}, or a classes.txt")
    classes = [line.strip() for line in names.read_text().splitlines() if line.strip()]
    return _read(folder, {"": image_files(folder)}, classes)


def _by_yaml(folder: Path, file: Path, content: Mapping[str, Any]) -> Found:
    """The splits that a data.yaml names."""
    names = content["names"]
    counted = isinstance(names, dict) and all(isinstance(key, int) for key in names)
    classes = [names[key] for key in sorted(names)] if counted else names
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        expected = (
            "the names of the classes, as a list or by number; in quotes if it is a word of YAML"
        )
        raise InputError(file, "names", f"is {names!r}", expected)
    images = {
        name: [
            image for entry in _entries(content[name]) for image in _images(file, content, entry)
        ]
        for name in USES
        if content.get(name)
    }
    if not images:
        raise InputError(file, "train", "is missing", "a folder of images, and one under val")
    return _read(folder, images, classes)


def _load(file: Path) -> Any:
    """The content of a YAML file, whose keys may be numbers."""
    try:
        return yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = f"is not YAML ({' '.join(str(error).split())})"
        raise InputError(file, "", problem, "a data.yaml of YOLO, or no YAML file here") from error


def _entries(value: Any) -> list[str]:
    return [str(entry) for entry in value] if isinstance(value, list) else [str(value)]


def _images(file: Path, content: Mapping[str, Any], entry: str) -> list[Path]:
    """The images of a split, which is a folder or a list of images."""
    root = file.parent / str(content.get("path") or "")
    # Roboflow writes ../train/images for a folder beside the file.
    inside = Path(*[part for part in Path(entry).parts if part != ".."])
    places = [root / entry, file.parent / entry, file.parent / inside]
    place = next((place for place in places if place.exists()), None)
    if place is None:
        expected = f"a folder of images, relative to {root}"
        raise InputError(file, entry, "does not exist", expected)
    if place.is_dir():
        return image_files(place)
    return [place.parent / line.strip() for line in place.read_text().splitlines() if line.strip()]


def _read(folder: Path, splits: Mapping[str, list[Path]], classes: list[str]) -> Found:
    """The label files of all splits as COCO annotations."""
    found = Found(FORM, folder, [])
    for name, files in splits.items():
        part = name or folder.name
        content = _content(files, folder, classes, part, found)
        found.parts.append(Part(part, USES.get(name, ""), content, folder))
    return found


def _content(
    files: list[Path], folder: Path, classes: list[str], part: str, found: Found
) -> dict[str, Any]:
    """The content of a COCO file with these images and their labels."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    unread, outside, without = [], 0, 0
    for image, size in zip(files, upright_sizes(files), strict=True):
        if isinstance(size, str):
            unread.append(f"{image} ({size})")
            continue
        images.append(_entry(image, folder, size))
        labels = label_file(image)
        without += labels is None
        for box in read_labels(labels, len(classes), *size) if labels else ():
            outside += box is None
            annotations += [{"image_id": len(images), **box}] if box else []
    found.notes += left_out_notes(part, unread, outside)
    if without:
        found.notes.append(
            f"{part}: images without a label file, taken for images without objects: {without:,}"
        )
    return coco(images, annotations, classes)


def _entry(image: Path, folder: Path, size: tuple[int, int]) -> dict[str, Any]:
    path, root = (Path(os.path.abspath(place)) for place in (image, folder))
    if not path.is_relative_to(root):
        raise InputError(image, "", f"is not in {folder}", "a folder that holds all images")
    name = path.relative_to(root).as_posix()
    return {"file_name": name, "width": size[0], "height": size[1]}
