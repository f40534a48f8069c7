"""The annotations that detectors learn as objects, and why they do not learn the others."""

from __future__ import annotations

from typing import Any


def class_names(content: dict[str, Any]) -> list[str]:
    """Names of the categories in the order of the file, which defines the class indices."""
    return [category["name"] for category in content["categories"]]


def instances(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The annotations that detectors learn as objects, as mmdet's CocoDataset selects them.

    Leaves out crowds, annotations marked as ignored, and boxes that are less than a pixel wide or
    high or lie outside their image.
    """
    extents = image_extents(content)
    return [
        annotation
        for annotation in content["annotations"]
        if not why_left_out(annotation, *extents[annotation["image_id"]])
    ]


def why_left_out(annotation: dict[str, Any], image_width: float, image_height: float) -> str:
    """Why detectors do not learn an annotation, with the key that decides; empty if they do."""
    if annotation["iscrowd"]:
        return "of crowds (iscrowd: 1)"
    if annotation.get("ignore"):
        return "marked as ignored (ignore: 1)"
    if annotation["area"] <= 0:
        return "without area (area: 0)"
    if not is_visible(annotation, image_width, image_height):
        return "thinner than a pixel or outside the image (bbox)"
    return ""


def is_visible(annotation: dict[str, Any], image_width: float, image_height: float) -> bool:
    """True if an annotation's box covers at least a pixel and overlaps the image."""
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
