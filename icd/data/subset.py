"""A part of a data set's images: drawn by a seed, independent of machine, Python and NumPy; or
without some that are named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from typing import Any


def subset(content: dict[str, Any], fraction: float, seed: int) -> dict[str, Any]:
    """The same annotations for a part of the images.

    Args:
        content: of a COCO annotation file.
        fraction: share of the images, rounded to a whole number of at least one.
        seed: of the choice.

    Returns:
        Images and their annotations in the order of the file, and all categories.
    """
    return _of_images(content, choose([image["id"] for image in content["images"]], fraction, seed))


def without_images(content: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The same annotations without images of these file names."""
    kept = {image["id"] for image in content["images"] if image["file_name"] not in names}
    return _of_images(content, kept)


def _of_images(content: dict[str, Any], chosen: Collection[int]) -> dict[str, Any]:
    """The part of the annotations that belongs to images with these ids."""
    return {
        "images": [image for image in content["images"] if image["id"] in chosen],
        "annotations": [one for one in content["annotations"] if one["image_id"] in chosen],
        "categories": content["categories"],
    }


def choose(ids: Iterable[int], fraction: float, seed: int) -> set[int]:
    """The ids whose sha256 together with the seed is smallest.

    With one seed, a smaller part lies within a larger one. Images that are added or removed change
    the choice of few others.
    """
    order = sorted(ids, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    return {*order[: max(1, round(fraction * len(order)))]}
