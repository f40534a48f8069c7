"""Data order and augmentation as functions of the seed and the place alone.

mmengine resumes the order of images exactly, but saves no random state. Here every random number is
seeded by its place in the stream of images (or by its iteration, see
:mod:`icd.training.hooks.seed`), so neither resuming nor the number of workers changes an image.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import DATA_SAMPLERS, TRANSFORMS
from mmengine.dataset import BaseDataset, InfiniteSampler

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

    def order(self) -> Iterator[int]:
        """The endless stream of images over all processes, as mmengine draws it."""
        yield from super()._infinite_indices()

    def _infinite_indices(self) -> Iterator[SampleIndex]:
        for place, index in enumerate(self.order()):
            yield SampleIndex(index, place)


@DATA_SAMPLERS.register_module()
class GroupedSampler(PlacedSampler):
    """A PlacedSampler whose batches hold only portrait images, or only others.

    mmdet pads the images of a batch to the largest width and the largest height among them, so
    batches of both orientations are padded most. The sampler collects the images of the endless
    stream in two groups. It yields a group when it holds a whole batch, so the order depends on the
    seed alone and every image is still drawn once per epoch.

    Each process takes every n-th image of the stream, so all processes have images of one group.

    Args:
        dataset: its information on each image states ``width`` and ``height``.
        batch: images of one iteration over all processes.
        shuffle, seed: as in mmengine's InfiniteSampler.
    """

    dataset: BaseDataset

    def __init__(
        self, dataset: BaseDataset, batch: int, shuffle: bool = True, seed: int | None = None
    ) -> None:
        super().__init__(dataset, shuffle, seed)
        self.batch = batch

    @cached_property
    def portrait(self) -> list[bool]:
        """Whether each image is higher than wide."""
        images = map(self.dataset.get_data_info, range(len(self.dataset)))
        return [image["width"] < image["height"] for image in images]

    def order(self) -> Iterator[int]:
        """The stream of whole batches over all processes."""
        groups: dict[bool, list[int]] = {False: [], True: []}
        for index in super().order():
            group = groups[self.portrait[index]]
            group.append(index)
            if len(group) == self.batch:
                yield from group
                group.clear()


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
