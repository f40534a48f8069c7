"""How a track reads its images: which splits it trains on, and to what size it resizes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Scale = tuple[int, int]  # longest and shortest side in pixels
TRAIN = "train"  # the split that defines classes and priors
SMALLEST_SIDE = 32  # pixels; mmdet's configs leave smaller images out of training (min_size)


@dataclass(frozen=True)
class Reading:
    """How training and testing read images.

    trained: names of the splits that are trained on.
    train_scales: each training image draws one.
    test_scale: scale in testing.
    smallest_side: images with a shorter side are left out of training.
    """

    trained: frozenset[str] = frozenset({TRAIN})
    train_scales: Sequence[Scale] = ()
    test_scale: Scale | None = None
    smallest_side: int = SMALLEST_SIDE

    def used(self, split: str, content: dict[str, Any]) -> dict[str, Any]:
        """The content of an annotation file without what training leaves out for its size."""
        if split not in self.trained:
            return content
        images = [image for image in content["images"] if not self.is_too_small(image)]
        kept = {image["id"] for image in images}
        annotations = [a for a in content["annotations"] if a["image_id"] in kept]
        return content | {"images": images, "annotations": annotations}

    def is_too_small(self, image: dict[str, Any]) -> bool:
        """True for an image that training leaves out."""
        return bool(min(image["width"], image["height"]) < self.smallest_side)

    def scales(self, split: str) -> list[Scale]:
        """The scales to which the images of a split are resized."""
        if split in self.trained:
            return [*self.train_scales]
        return [self.test_scale] if self.test_scale else []


def resized(width: float, height: float, scale: Scale) -> tuple[int, int]:
    """Width and height after mmdet's Resize with ``keep_ratio``; a side may become 0."""
    factor = min(max(scale) / max(width, height), min(scale) / min(width, height))
    return int(width * factor + 0.5), int(height * factor + 0.5)
