"""Data order and augmentation as a function of the seed and the place in the stream alone.

mmengine resumes the order of images exactly but not the random state of augmentations. Here every
draw is seeded by its place, so neither resuming nor the number of workers changes a picture.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import DATA_SAMPLERS, TRANSFORMS
from mmengine.dataset import InfiniteSampler


class Draw(int):
    """Index of an image that remembers its place in the endless stream of images."""

    place: int

    def __new__(cls, index: int, place: int) -> Draw:
        draw = super().__new__(cls, index)
        draw.place = place
        return draw

    def __reduce__(self) -> tuple:
        return Draw, (int(self), self.place)


@DATA_SAMPLERS.register_module()
class PlacedSampler(InfiniteSampler):
    """An InfiniteSampler whose indices know their place over all processes."""

    def _infinite_indices(self) -> Iterator[Draw]:
        for place, index in enumerate(super()._infinite_indices()):
            yield Draw(index, place)


@TRANSFORMS.register_module()
class SeedByPlace(BaseTransform):
    """First transform of a training pipeline: fixes the random state of all that follow.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def transform(self, results: dict) -> dict:
        """Seed ``random`` and ``numpy.random`` by run and place."""
        place = getattr(results["sample_idx"], "place", None)
        if place is None:  # the data set fetches another image because a transform refused one
            return results
        state = np.random.SeedSequence([self.seed, place]).generate_state(1)[0]
        random.seed(int(state))
        np.random.seed(state)
        return results
