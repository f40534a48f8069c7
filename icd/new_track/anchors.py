"""The sizes of anchors, and of the ranges that heads without anchors divide objects by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icd.new_track.facts import Numbers

STRIDES = (8, 16, 32, 64, 128)
OCTAVES = (0, 1 / 3, 2 / 3)  # anchors of RetinaNet on each level
OVERLAP = 0.5  # IoU from which RetinaNet's anchors are positive
SAMPLE = 20_000  # objects
COCO_BASE, COCO_RATIOS = 4, (0.5, 1.0, 2.0)
WIDE_RATIOS = (0.25, 0.5, 1.0, 2.0, 4.0)
# Those of COCO come first; others must cover so many more objects.
CANDIDATES = [(base, ratios) for ratios in (COCO_RATIOS, WIDE_RATIOS) for base in (4, 2, 8, 1)]
GAIN = 0.02


@dataclass(frozen=True)
class Anchors:
    """Anchors of a RetinaNet.

    base: side of the smallest anchor on each level, as a multiple of its stride.
    ratios: height / width.
    covered: share of the objects that overlap an anchor by half or more.
    coco: the same with COCO's anchors.
    """

    base: int
    ratios: tuple[float, ...]
    covered: float
    coco: float

    @property
    def default(self) -> bool:
        """True for COCO's anchors."""
        return (self.base, self.ratios) == (COCO_BASE, COCO_RATIOS)


def choose(objects: Numbers) -> Anchors:
    """The first candidate that covers nearly as many objects as the best.

    Args:
        objects: [objects, 2] width and height in pixels of the resized images.
    """
    sample = objects[:: max(1, len(objects) // SAMPLE)].clip(min=1)
    shares = [covered(sample, *candidate) for candidate in CANDIDATES]
    place = next(i for i, share in enumerate(shares) if share >= max(shares) - GAIN)
    return Anchors(*CANDIDATES[place], shares[place], shares[0])


def covered(objects: Numbers, base: float, ratios: Sequence[float]) -> float:
    """Share of the objects that overlap an anchor by half or more.

    Anchors stand on a grid, so the centre of an object is assumed a quarter of a stride away from
    the nearest one in both directions.
    """
    best: Numbers = np.zeros(len(objects))
    for stride in STRIDES:
        for octave in OCTAVES:
            side = base * stride * 2**octave
            for ratio in ratios:
                anchor = np.array([side / ratio**0.5, side * ratio**0.5])
                best = np.maximum(best, _overlap(objects, anchor, stride / 4))
    return float((best >= OVERLAP).mean())


def _overlap(objects: Numbers, anchor: Numbers, shift: float) -> Numbers:
    """IoU of boxes [N, 2] and an anchor [2], whose centres differ by ``shift`` in x and y."""
    sides = np.minimum(np.minimum(objects, anchor), (objects + anchor) / 2 - shift).clip(min=0)
    common = sides.prod(axis=1)
    return common / (objects.prod(axis=1) + anchor.prod() - common)
