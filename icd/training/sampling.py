"""Data order, augmentation and draws of the model as functions of the seed and the place alone.

mmengine resumes the order of images exactly but no random state. Here every draw is seeded by its
place in the stream of images or of iterations, so neither resuming nor the number of workers
changes a picture or a step.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.registry import DATA_SAMPLERS, HOOKS, TRANSFORMS
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from icd.seeds import seed_of


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
        state = seed_of(self.seed, place)
        random.seed(state)
        np.random.seed(state)
        return results


@HOOKS.register_module()
class SeedByIteration(Hook):
    """Fixes PyTorch's random state for each iteration: some heads draw the boxes they train on.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Seed ``torch`` by run, process and iteration."""
        torch.manual_seed(seed_of(self.seed, get_rank(), runner.iter))
