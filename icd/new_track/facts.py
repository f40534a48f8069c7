"""Numbers of the training images and their objects, from which a track's settings follow."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icd.data.annotations import mask_of
from icd.data.instances import class_names, image_extents, instances
from icd.data.reading import Scale, resized

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Facts:
    """What the training split holds.

    classes: names.
    images: [images, 2] width and height in pixels.
    objects: [objects, 2] width and height in pixels of their image.
    of_objects: [objects, 2] width and height of the image of each object.
    per_image: number of objects of each image that has some.
    masks: whether all objects have a mask.
    """

    classes: list[str]
    images: Numbers
    objects: Numbers
    of_objects: Numbers
    per_image: Numbers
    masks: bool

    def at(self, scale: Scale) -> Numbers:
        """[objects, 2] width and height of the objects once images are resized to a scale."""
        before = self.of_objects.tolist()
        sizes = {(width, height): resized(width, height, scale) for width, height in before}
        after = np.array([sizes[width, height] for width, height in before], float)
        return self.objects * after / self.of_objects


def facts_of(content: dict[str, Any]) -> Facts:
    """The numbers of a complete COCO file."""
    found, extents = instances(content), image_extents(content)
    per_image = Counter(annotation["image_id"] for annotation in found)
    return Facts(
        classes=class_names(content),
        images=np.array([*extents.values()], float),
        objects=np.array([annotation["bbox"][2:] for annotation in found], float),
        of_objects=np.array([extents[annotation["image_id"]] for annotation in found], float),
        per_image=np.array([*per_image.values()], float),
        masks=all(mask_of(annotation) for annotation in found),
    )
