"""Annotation files of the shape that annotation tools export, with the images beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from pycocotools import mask as masks

WIDTH, HEIGHT = 96, 64
NAMES = ("street.jpg", "garden.jpg", "empty.jpg")
BOXES: list[tuple[int, int, list[float]]] = [  # image, class, box
    (0, 0, [10, 12, 40, 30]),
    (0, 1, [50, 8, 30, 24]),
    (1, 1, [20.5, 10.25, 33.0, 44.5]),
]
CLASSES = ("cat", "dog")


class Export(NamedTuple):
    """What a tool exports, and how a track names it.

    content: the annotation file.
    annotations, images: paths as a track states them.
    classes: names in the order of the file.
    """

    content: dict[str, Any]
    annotations: str
    images: str
    classes: list[str]


def polygon(box: list[float]) -> list[float]:
    x, y, width, height = box
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def cvat(masks_drawn: bool = False) -> Export:
    """CVAT, "COCO 1.0": polygons, or masks as run lengths, which it marks as crowds."""
    annotations = []
    for number, (image, label, box) in enumerate(BOXES, 1):
        annotation = {
            "id": number,
            "image_id": image + 1,
            "category_id": label + 1,
            "segmentation": [polygon(box)],
            "area": box[2] * box[3],
            "bbox": box,
            "iscrowd": 0,
            "attributes": {"occluded": False},
        }
        if masks_drawn:
            annotation |= {"segmentation": run_lengths(box), "iscrowd": 1}
        annotations.append(annotation)
    images = [
        {
            "id": i,
            "width": WIDTH,
            "height": HEIGHT,
            "file_name": name,
            "license": 0,
            "flickr_url": "",
            "coco_url": "",
            "date_captured": 0,
        }
        for i, name in enumerate(NAMES, 1)
    ]
    content = {
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": dict.fromkeys(
            ("contributor", "date_created", "description", "url", "version", "year"), ""
        ),
        "categories": [
            {"id": i, "name": name, "supercategory": ""} for i, name in enumerate(CLASSES, 1)
        ],
        "images": images,
        "annotations": annotations,
    }
    return Export(content, "annotations/instances_default.json", "images/default", [*CLASSES])


def run_lengths(box: list[float]) -> dict[str, Any]:
    """A box as a mask, in CVAT's uncompressed run lengths."""
    (code,) = masks.frPyObjects([polygon(box)], HEIGHT, WIDTH)
    flat = masks.decode(code).T.reshape(-1).astype(int)
    changes = np.flatnonzero(np.diff(flat, prepend=0))
    return {
        "counts": np.diff([0, *changes, flat.size]).tolist(),
        "size": [HEIGHT, WIDTH],
    }


def roboflow() -> Export:
    """Roboflow, "COCO": ids from 0, no polygons, a super-category as the first class."""
    content = {
        "info": {
            "year": "2024",
            "version": "1",
            "description": "Exported from roboflow.com",
            "contributor": "",
            "url": "",
            "date_created": "2024-05-01T10:00:00+00:00",
        },
        "licenses": [{"id": 1, "url": "", "name": "CC BY 4.0"}],
        "categories": [
            {"id": 0, "name": "animals", "supercategory": "none"},
            *({"id": i, "name": n, "supercategory": "animals"} for i, n in enumerate(CLASSES, 1)),
        ],
        "images": [
            {
                "id": i,
                "license": 1,
                "file_name": name,
                "height": HEIGHT,
                "width": WIDTH,
                "date_captured": "2024-05-01T10:00:00+00:00",
                "extra": {"name": name},
            }
            for i, name in enumerate(f"{name.replace('.', '_')}.rf.0a1b2c.jpg" for name in NAMES)
        ],
        "annotations": [
            {
                "id": i,
                "image_id": image,
                "category_id": label + 1,
                "bbox": box,
                "area": box[2] * box[3],
                "segmentation": [],
                "iscrowd": 0,
            }
            for i, (image, label, box) in enumerate(BOXES)
        ],
    }
    classes = ["animals", *CLASSES]
    return Export(content, "train/_annotations.coco.json", "train", classes)


def label_studio() -> Export:
    """Label Studio, "COCO": ids from 0, the folder is part of the file names."""
    content = {
        "images": [
            {"width": WIDTH, "height": HEIGHT, "id": i, "file_name": f"images/0a1b2c3d-{name}"}
            for i, name in enumerate(NAMES)
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES)],
        "annotations": [
            {
                "id": i,
                "image_id": image,
                "category_id": label,
                "segmentation": [],
                "bbox": [float(value) for value in box],
                "ignore": 0,
                "iscrowd": 0,
                "area": float(box[2] * box[3]),
            }
            for i, (image, label, box) in enumerate(BOXES)
        ],
        "info": {
            "year": 2024,
            "version": "1.0",
            "description": "",
            "contributor": "Label Studio",
            "url": "",
            "date_created": "2024-05-01 10:00:00.000000",
        },
    }
    return Export(content, "result.json", ".", [*CLASSES])


def labelme() -> Export:
    """labelme's labelme2coco.py: ids from 0, polygons, a first class without objects."""
    classes = ["_background_", *CLASSES]
    content = {
        "info": {"description": None, "url": None, "version": None, "year": 2024},
        "licenses": [{"url": None, "id": 0, "name": None}],
        "images": [
            {
                "license": 0,
                "url": None,
                "file_name": f"JPEGImages/{name}",
                "height": HEIGHT,
                "width": WIDTH,
                "date_captured": None,
                "id": i,
            }
            for i, name in enumerate(NAMES)
        ],
        "type": "instances",
        "annotations": [
            {
                "id": i,
                "image_id": image,
                "category_id": label + 1,
                "segmentation": [polygon(box)],
                "area": float(box[2] * box[3]),
                "bbox": [float(value) for value in box],
                "iscrowd": 0,
            }
            for i, (image, label, box) in enumerate(BOXES)
        ],
        "categories": [
            {"supercategory": None, "id": i, "name": name} for i, name in enumerate(classes)
        ],
    }
    return Export(content, "annotations.json", ".", classes)


EXPORTS: dict[str, Callable[[], Export]] = {
    "CVAT": cvat,
    "Roboflow": roboflow,
    "Label Studio": label_studio,
    "labelme": labelme,
}


def write(export: Export, root: Path) -> tuple[Path, Path]:
    """Write an export below ``root``; its annotation file and image folder."""
    annotations, images = root / export.annotations, root / export.images
    annotations.parent.mkdir(parents=True, exist_ok=True)
    annotations.write_text(json.dumps(export.content))
    for i, image in enumerate(export.content["images"]):
        file = images / image["file_name"]
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT), (40 * i, 90, 10)).save(file)
    return annotations, images
