"""Levels divided by their running RMS, against the same division outside of the method."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from icd.methods.icd import fast, level_scale, plain
from icd.methods.icd.level_scale import LevelScale
from icd.methods.icd.queries import make_queries
from icd.methods.tokens import sizes_of, tokenize
from tests.methods.batches import Batch, random_batch, random_method, run

FACTORS = (10.0, 7.0, 4.0, 16.0, 60.0)


def uneven(seed: int) -> Batch:
    """A batch whose teacher has levels of very different magnitude."""
    batch = random_batch(seed=seed, dtype=torch.float64)
    levels = [level * factor for level, factor in zip(batch.teacher, FACTORS, strict=True)]
    return replace(batch, teacher=levels)


def mean_squares(batch: Batch) -> list[float]:
    """Of the cells of each level that see the image."""
    found = []
    targets = batch.targets
    valid = tokenize(batch.teacher, targets.image_sizes, targets.padded_size).valid
    cells = [rows * columns for rows, columns in sizes_of(batch.teacher)]
    for level, own in zip(batch.teacher, valid.split(cells, dim=1), strict=True):
        values = [
            level[i, :, y, x].numpy()
            for i, y, x in np.ndindex(len(level), *level.shape[2:])
            if own[i, y * level.shape[3] + x]
        ]
        found.append(float(np.mean(np.square(values))))
    return found


def divided(batch: Batch, squares: list[float]) -> Batch:
    return replace(
        batch,
        teacher=[level / square**0.5 for level, square in zip(batch.teacher, squares, strict=True)],
    )


def assert_equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    for name, loss in theirs.items():
        torch.testing.assert_close(ours[name], loss, rtol=1e-10, atol=0)


def test_losses_are_those_of_levels_divided_by_their_rms() -> None:
    method, bare = (random_method(scale_levels=scale).double() for scale in (True, False))
    first, second = uneven(0), uneven(1)
    squares = mean_squares(first)
    assert_equal(run(method, first), run(bare, divided(first, squares)))
    squares = np.mean([squares, mean_squares(second)], axis=0).tolist()
    assert_equal(run(method, second), run(bare, divided(second, squares)))


def test_both_formulations_see_the_same() -> None:
    method, batch = random_method(scale_levels=True).double().eval(), uneven(0)
    queries = make_queries(batch.targets, method.draw(batch.targets, 0), method.jitter)
    both = [
        method.losses(batch.teacher, batch.student, batch.targets, queries, False, formulation)
        for formulation in (fast, plain)
    ]
    assert_equal(*both)


def test_the_state_is_restored_and_evaluation_leaves_it() -> None:
    method, other = (random_method(scale_levels=True).double() for _ in range(2))
    run(method, uneven(0))
    other.load_state_dict(method.state_dict())
    run(other.eval(), uneven(1))
    other.train()
    assert_equal(run(method, uneven(2), 1), run(other, uneven(2), 1))


def test_processes_share_one_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sees the mean of all, here of two."""
    batches = uneven(0), uneven(1)
    squares = [torch.tensor(mean_squares(batch), dtype=torch.float64) for batch in batches]

    def all_reduce(own: Tensor, op: str) -> None:
        assert op == "mean"
        own.copy_((squares[0] + squares[1]) / 2)

    monkeypatch.setattr(level_scale, "all_reduce", all_reduce)
    scale = LevelScale(5).double()
    valid = tokenize(
        batches[0].teacher, batches[0].targets.image_sizes, batches[0].targets.padded_size
    ).valid
    scale.observe(batches[0].teacher, valid)
    torch.testing.assert_close(scale.mean_square, (squares[0] + squares[1]) / 2)


def test_off_by_default_and_then_without_state() -> None:
    assert not [name for name in random_method().state_dict() if "scale" in name]


def test_a_level_of_zeros_stays_zero() -> None:
    scale, levels = LevelScale(1), [torch.zeros(1, 4, 2, 2)]
    scale.observe(levels, torch.ones(1, 4, dtype=torch.bool))
    assert torch.equal(scale(levels)[0], levels[0])
