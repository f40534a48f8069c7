"""Every training image depends only on the seed and its position in the stream."""

from __future__ import annotations

import copy
import pickle
import random
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.runner import Runner
from torch import Tensor

from icd.training.hooks.seed import SeedByIteration
from icd.training.sampler import PlacedSampler, SampleIndex, SeedByPlace
from tests.lab import IMAGES, Lab

DATASET = range(IMAGES["train"])
BATCH = 2


@pytest.mark.parametrize("shuffle", [True, False])
def test_order_is_mmengines(shuffle: bool) -> None:
    expected = list(islice(InfiniteSampler(DATASET, shuffle, seed=3), 50))
    found = list(islice(PlacedSampler(DATASET, shuffle, seed=3), 50))
    assert found == expected
    assert [draw.place for draw in found] == list(range(50))


def test_skipping_keeps_places() -> None:
    sampler, whole = (PlacedSampler(DATASET, seed=3) for _ in range(2))
    sampler.skip(21)
    rest = [(draw, draw.place) for draw in islice(sampler, 10)]
    assert rest == [(draw, draw.place) for draw in islice(whole, 21, 31)]


def test_processes_share_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {draw.place: int(draw) for draw in islice(PlacedSampler(DATASET, seed=3), 40)}
    shared: dict[int, int] = {}
    for rank in range(2):
        monkeypatch.setattr("mmengine.dataset.sampler.get_dist_info", lambda rank=rank: (rank, 2))
        shared |= {draw.place: int(draw) for draw in islice(PlacedSampler(DATASET, seed=3), 20)}
    assert shared == whole


@pytest.mark.parametrize("copied", [lambda d: pickle.loads(pickle.dumps(d)), copy.deepcopy])
def test_a_draw_keeps_its_place_on_the_way_to_a_worker(copied: Any) -> None:
    draw = copied(SampleIndex(5, 77))
    assert (draw, draw.place) == (5, 77)
    assert DATASET[draw] == 5


def pictures(
    lab: Lab, batches: int, seed: int = 0, workers: int = 0, skip: int = 0
) -> list[tuple[Tensor, Tensor]]:
    """Pixels and boxes of what a run trains on, after scrambling all global random states."""
    for scramble in (random.seed, np.random.seed, torch.manual_seed):
        scramble(1000 * batches + 10 * workers + skip)
    config = lab.config(lab.run(seed), workers).train_dataloader
    loader = Runner.build_dataloader(config, seed=seed)
    if skip:
        loader.sampler.skip(skip * BATCH)
    found = list(islice(loader, batches))
    return [
        (pixels, sample.gt_instances.bboxes.tensor)
        for batch in found
        for pixels, sample in zip(batch["inputs"], batch["data_samples"], strict=True)
    ]


def same(first: list, second: list) -> bool:
    assert len(first) == len(second) > 0
    return all(
        torch.equal(a, b)
        for x, y in zip(first, second, strict=True)
        for a, b in zip(x, y, strict=True)
    )


def test_pictures_do_not_depend_on_who_loads_them_or_when(lab: Lab) -> None:
    whole = pictures(lab, 6)
    assert same(pictures(lab, 6, workers=2), whole)
    assert same(pictures(lab, 4, skip=2), whole[2 * BATCH :])
    assert same(pictures(lab, 4, skip=2, workers=2), whole[2 * BATCH :])


def test_another_seed_gives_other_pictures(lab: Lab) -> None:
    assert not same(pictures(lab, 2), pictures(lab, 2, seed=1))
    samplers = [
        Runner.build_dataloader(lab.config(lab.run(seed)).train_dataloader, seed=0).sampler
        for seed in (0, 1)
    ]
    assert list(islice(samplers[0], 16)) != list(islice(samplers[1], 16))


def test_an_image_is_augmented_anew_each_time(lab: Lab) -> None:
    """Of the four orientations, several turn up within eight rounds through the data."""
    run = lab.run()
    loader = Runner.build_dataloader(lab.config(run).train_dataloader, seed=0)
    stream = (s for batch in loader for s in batch["data_samples"])
    flips: dict[str, set] = {}
    for sample in islice(stream, 8 * len(DATASET)):
        flips.setdefault(sample.img_path, set()).add(sample.flip_direction)
    assert len(flips) == len(DATASET)
    assert set.union(*flips.values()) == {None, "horizontal", "vertical", "diagonal"}
    assert all(len(seen) > 1 for seen in flips.values())


def test_augmentations_draw_by_seed_and_place() -> None:
    def drawn(seed: int, place: int) -> tuple[float, float]:
        SeedByPlace(seed).transform({"sample_idx": SampleIndex(3, place)})
        return random.random(), np.random.rand()

    assert drawn(0, 5) == drawn(0, 5)
    for position in range(2):
        assert len({drawn(*of)[position] for of in [(0, 5), (0, 6), (1, 5), (5, 0)]}) == 4


def test_a_second_try_draws_on() -> None:
    """An image that is fetched in place of a refused one has no place: nothing is seeded."""
    np.random.seed(4)
    expected = np.random.RandomState(4).rand()
    results = {"sample_idx": 3}
    assert SeedByPlace(seed=0).transform(results) is results
    assert np.random.rand() == expected


def test_steps_draw_by_seed_and_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(seed: int, iteration: int, rank: int = 0) -> float:
        monkeypatch.setattr("icd.training.hooks.seed.get_rank", lambda: rank)
        SeedByIteration(seed).before_train_iter(SimpleNamespace(iter=iteration), 0)
        return torch.rand(()).item()

    assert drawn(0, 5) == drawn(0, 5)
    assert len({drawn(0, 5), drawn(0, 6), drawn(1, 5), drawn(0, 5, rank=1)}) == 4
