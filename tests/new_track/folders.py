"""Tiny data sets in the formats that users have, with the same images and boxes in each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

WIDTH, HEIGHT = 96, 64
CLASSES = ["cat", "dog"]
IMAGES = {"train": range(6), "val": range(6, 9), "test": range(9, 12)}  # numbers of images
Box = tuple[int, int, int, int, int]  # class, left, top, width, height in whole pixels


def boxes(number: int) -> list[Box]:
    """The objects of an image; none in the last of each part."""
    if number % 3 == 2:
        return []
    return [(0, 4 + number, 6, 40, 30), (number % 2, 52, 10 + number, 32, 24)]


def polygon(box: Box) -> list[float]:
    """A triangle in a box."""
    _, left, top, width, height = box
    return [left, top, left + width, top, left, top + height]


def write_image(file: Path, number: int) -> Path:
    """An image of noise that differs from the others."""
    values = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(file)
    return file


def content(numbers: Any, names: list[str] = CLASSES, masks: bool = False) -> dict[str, Any]:
    """COCO's annotations of images, whose ids are their numbers + 1."""
    images = [
        {"id": n + 1, "file_name": f"{n}.jpg", "width": WIDTH, "height": HEIGHT} for n in numbers
    ]
    found: list[dict[str, Any]] = []
    for n in numbers:
        for box in boxes(n):
            label, *shape = box
            entry = {"id": len(found) + 1, "image_id": n + 1, "category_id": 7 - label}
            found.append(entry | {"bbox": shape, "area": shape[2] * shape[3], "iscrowd": 0})
            if masks:
                found[-1]["segmentation"] = [polygon(box)]
    categories = [{"id": 7 - CLASSES.index(name), "name": name} for name in names]
    return {"images": images, "annotations": found, "categories": categories}


def coco(root: Path, parts: tuple[str, ...] = ("train", "val", "test")) -> Path:
    """COCO's layout: annotations/instances_train2017.json, train2017."""
    for part in parts:
        file = root / f"annotations/instances_{part}2017.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content(IMAGES[part])))
        for number in IMAGES[part]:
            write_image(root / f"{part}2017/{number}.jpg", number)
    return root


def yolo(
    root: Path, parts: tuple[str, ...] = ("train", "val", "test"), masks: bool = False
) -> Path:
    """Ultralytics' layout: data.yaml, images/train, labels/train."""
    splits = {part: f"images/{part}" for part in parts}
    names = dict(enumerate(CLASSES))
    root.mkdir(parents=True, exist_ok=True)
    (root / "data.yaml").write_text(yaml.safe_dump({"path": ".", **splits, "names": names}))
    for part in parts:
        for number in IMAGES[part]:
            write_image(root / f"images/{part}/{number}.jpg", number)
            file = root / f"labels/{part}/{number}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            lines = [_line(box, masks) for box in boxes(number)]
            if lines:  # images without objects often have no file
                file.write_text("".join(lines))
    return root


def _line(box: Box, masks: bool) -> str:
    label, left, top, width, height = box
    values = [left + width / 2, top + height / 2, width, height]
    values = polygon(box) if masks else values
    sides = [WIDTH, HEIGHT] * (len(values) // 2)
    fractions = (f"{value / side:.6f}" for value, side in zip(values, sides, strict=True))
    return f"{label} {' '.join(fractions)}\n"


def voc(root: Path, parts: tuple[str, ...] = ("train", "val", "test")) -> Path:
    """VOC's layout, whose pixels count from 1 and include the last."""
    for part in parts:
        lists = root / f"ImageSets/Main/{part}.txt"
        lists.parent.mkdir(parents=True, exist_ok=True)
        lists.write_text("".join(f"{number}\n" for number in IMAGES[part]))
        for number in IMAGES[part]:
            write_image(root / f"JPEGImages/{number}.jpg", number)
            file = root / f"Annotations/{number}.xml"
            file.parent.mkdir(exist_ok=True)
            objects = "".join(map(_object, boxes(number)))
            file.write_text(f"<annotation><filename>{number}.jpg</filename>{objects}</annotation>")
    return root


def _object(box: Box) -> str:
    label, left, top, width, height = box
    corners = {"xmin": left + 1, "ymin": top + 1, "xmax": left + width, "ymax": top + height}
    shape = "".join(f"<{key}>{value}</{key}>" for key, value in corners.items())
    return f"<object><name>{CLASSES[label]}</name><bndbox>{shape}</bndbox></object>"


def rows(numbers: Any, folder: Path, as_corners: bool = False) -> list[dict[str, Any]]:
    """The rows of a Hugging Face data set, with the paths of the images."""
    found = []
    for number in numbers:
        shapes = [
            [left, top, left + width, top + height] if as_corners else [left, top, width, height]
            for _, left, top, width, height in boxes(number)
        ]
        labels = [label for label, *_ in boxes(number)]
        image = str(write_image(folder / f"{number}.jpg", number))
        found.append({"image": image, "objects": {"bbox": shapes, "category": labels}})
    return found
