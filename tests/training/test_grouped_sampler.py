"""Batches of one orientation, whatever the number of processes and wherever a training resumes."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

import mmcv
import numpy as np
import pytest
from mmengine.runner import Runner

from icd.training.sampler import GroupedSampler, PlacedSampler, SampleIndex
from tests.lab import Lab

BATCH = 16
# Width, height and share of the most frequent sizes, as COCO has them roughly.
SIZES = {
    (640, 480): 0.36,
    (640, 427): 0.19,
    (640, 426): 0.08,
    (500, 375): 0.06,
    (640, 360): 0.02,
    (640, 640): 0.03,
    (480, 640): 0.16,
    (427, 640): 0.07,
    (375, 500): 0.03,
}
SHORT_SIDES = (640, 672, 704, 736, 768, 800)


class Images:
    """A data set that knows sizes alone."""

    def __init__(self, number: int) -> None:
        rng = np.random.default_rng(0)
        share = np.array([*SIZES.values()]) / sum(SIZES.values())
        self.sizes = [[*SIZES][k] for k in rng.choice(len(SIZES), number, p=share)]

    def __len__(self) -> int:
        return len(self.sizes)

    def get_data_info(self, index: int) -> dict[str, Any]:
        width, height = self.sizes[index]
        return {"width": width, "height": height}

    def is_portrait(self, index: int) -> bool:
        width, height = self.sizes[index]
        return width < height


IMAGES = Images(500)


def grouped(images: Any = IMAGES, seed: int = 3) -> GroupedSampler:
    return GroupedSampler(images, BATCH, seed=seed)


def batches(stream: list[SampleIndex], size: int = BATCH) -> list[list[SampleIndex]]:
    return [stream[i : i + size] for i in range(0, len(stream), size)]


def test_a_batch_has_one_orientation() -> None:
    found = batches([*islice(grouped(), 200 * BATCH)])
    kinds = [{IMAGES.is_portrait(index) for index in batch} for batch in found]
    assert all(len(kind) == 1 for kind in kinds)
    assert {True} in kinds
    assert {False} in kinds


def test_places_count_the_images_that_are_trained_on() -> None:
    assert [index.place for index in islice(grouped(), 100)] == list(range(100))


@pytest.mark.parametrize("rounds", [1, 2, 7])
def test_every_image_is_drawn_once_per_epoch(rounds: int) -> None:
    """All but those that wait for a whole batch of their group."""
    drawn = Counter(map(int, islice(PlacedSampler(IMAGES, seed=3), rounds * len(IMAGES))))
    whole = [b for kind in (False, True) for b in epochs_of(kind, rounds)]
    found = Counter(map(int, islice(grouped(), len(whole))))
    waiting = drawn - found
    assert not found - drawn
    assert sum(waiting.values()) < 2 * BATCH


def epochs_of(kind: bool, rounds: int) -> list[int]:
    """The images of one group in some epochs of mmengine's order, without an incomplete batch."""
    stream = islice(PlacedSampler(IMAGES, seed=3), rounds * len(IMAGES))
    of_kind = [int(index) for index in stream if IMAGES.is_portrait(index) == kind]
    return of_kind[: len(of_kind) // BATCH * BATCH]


@pytest.mark.parametrize("kind", [False, True])
def test_within_a_group_the_order_is_mmengines(kind: bool) -> None:
    stream = islice(grouped(), 2000)
    found = [int(index) for index in stream if IMAGES.is_portrait(index) == kind]
    assert found == epochs_of(kind, 10)[: len(found)]


@pytest.mark.parametrize("place", [0, 1, 5 * BATCH, 1234, 100 * BATCH])
def test_skipping_resumes_at_any_place(place: int) -> None:
    sampler = grouped()
    sampler.skip(place)
    rest = [(index, index.place) for index in islice(sampler, 100)]
    whole = islice(grouped(), place, place + 100)
    assert rest == [(index, index.place) for index in whole]


@pytest.mark.parametrize("processes", [2, 4, 8])
@pytest.mark.parametrize("iteration", [0, 9])
def test_processes_share_whole_batches(
    monkeypatch: pytest.MonkeyPatch, processes: int, iteration: int
) -> None:
    """In every iteration, all of them together have the batch of one process."""
    whole = batches([*islice(grouped(), 30 * BATCH)])[iteration:]
    share, parts = BATCH // processes, []
    for rank in range(processes):
        monkeypatch.setattr(
            "mmengine.dataset.sampler.get_dist_info", lambda rank=rank: (rank, processes)
        )
        sampler = grouped()
        sampler.skip(iteration * share)
        parts.append(batches([*islice(sampler, len(whole) * share)], share))
    for batch, *shares in zip(whole, *parts, strict=True):
        together = {index.place: int(index) for part in shares for index in part}
        assert together == {index.place: int(index) for index in batch}


def test_another_seed_gives_another_order() -> None:
    assert [*islice(grouped(), 50)] != [*islice(grouped(seed=4), 50)]


def padded(stream: list[SampleIndex]) -> float:
    """Pixels of padded batches, as a multiple of those of the images."""
    total = used = 0
    for batch in batches(stream):
        shapes = []
        for index in batch:
            side = np.random.default_rng(index.place).choice(SHORT_SIDES)
            scaled = mmcv.rescale_size(IMAGES.sizes[index], (1333, int(side)))
            shapes.append(scaled)
            used += scaled[0] * scaled[1]
        width, height = (-(-max(sides) // 32) * 32 for sides in zip(*shapes, strict=True))
        total += width * height * len(batch)
    return total / used


def test_groups_need_less_padding() -> None:
    mixed = padded([*islice(PlacedSampler(IMAGES, seed=3), 200 * BATCH)])
    one_kind = padded([*islice(grouped(), 200 * BATCH)])
    print(f"padded pixels: {mixed:.2f} without groups, {one_kind:.2f} with")
    assert mixed / one_kind > 1.25


def test_a_run_groups_its_images_if_its_recipe_does(lab: Lab) -> None:
    """The data set of a run states sizes, and a resumed loader goes on with the same images."""
    for wanted in (False, True):
        run = lab.changed({"recipe": {"group_by_aspect": wanted}}).run()
        config = lab.config(run).train_dataloader
        sampler = Runner.build_dataloader(config, seed=0).sampler
        assert isinstance(sampler, GroupedSampler) == wanted
        assert len([*islice(sampler, 40)]) == 40
    assert sampler.batch == run.recipe.batch_size


def test_groups_rename_only_runs_that_use_them(lab: Lab) -> None:
    named = [
        lab.changed({"recipe": recipe}).run().id
        for recipe in ({}, {"group_by_aspect": False}, {"group_by_aspect": True})
    ]
    assert named[0] == named[1] != named[2]
