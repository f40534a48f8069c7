"""What natural scenes hold. It imports nothing heavy, because every plan reads the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Range = tuple[int, int]  # smallest and largest number per image


@dataclass(frozen=True)
class NaturalSpec:
    """What scenes hold.

    classes: number of classes, the first ones of :data:`icd.data.more_shapes.ALL_OUTLINES`.
    objects: mean number of objects per image, before those hidden by others are taken out.
    most_objects: largest number of objects per image.
    median_size: median of the objects' relative size, the root of their share of the image.
    size_spread: standard deviation of the logarithm of the relative size.
    patches: large regions of the background.
    distractors: blobs and bars.
    scribbles: bent lines.
    look_alikes: stretched outlines of the classes.
    contrast: least RGB distance between the colour of a region and what it covers.
    tone: largest change of a colour channel made by the texture of a region.
    """

    classes: int = 16
    objects: float = 7.0
    most_objects: int = 30
    median_size: float = 0.1
    size_spread: float = 0.8
    patches: Range = (3, 8)
    distractors: Range = (3, 8)
    scribbles: Range = (1, 4)
    look_alikes: Range = (1, 4)
    contrast: int = 70
    tone: int = 40

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> NaturalSpec:
        """The specification that a track states, whose ranges are lists."""
        plain: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in parameters.items()
        }
        return cls(**plain)
