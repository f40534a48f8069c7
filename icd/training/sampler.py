"""Data order and augmentation as functions of the seed and the place alone.

mmengine resumes the order of images exactly, but saves no random state. Here every random number is
seeded by its place in the stream of images (or by its iteration, see
:mod:`icd.training.hooks.seed`), so neither resuming nor the number of workers changes an image.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import DATA_SAMPLERS, TRANSFORMS
from mmengine.dataset import InfiniteSampler

from icd.seeds import seed_of


class SampleIndex(int):
    """Index of an image that remembers its place in the endless stream of images."""

    place: int

    def __new__(cls, index: int, place: int) -> SampleIndex:
        sample = super().__new__(cls, index)
        sample.place = place
        return sample

    def __reduce__(self) -> tuple[type[SampleIndex], tuple[int, int]]:
        return SampleIndex, (int(self), self.place)


@DATA_SAMPLERS.register_module()
class PlacedSampler(InfiniteSampler):
    """An InfiniteSampler whose indices know their place over all processes."""

    def _infinite_indices(self) -> Iterator[SampleIndex]:
        for place, index in enumerate(super()._infinite_indices()):
            yield SampleIndex(index, place)


@TRANSFORMS.register_module()
class SeedByPlace(BaseTransform):
    """First transform of a training pipeline: sets the random state of all that follow.

    Args:
        seed: seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Seed ``random`` and ``numpy.random`` by run and place."""
        place = getattr(results["sample_idx"], "place", None)
        if place is None:  # the data set fetches another image because a transform refused one
            return results
        state = seed_of(self.seed, place)
        random.seed(state)
        np.random.seed(state)
        return results
