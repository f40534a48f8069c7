"""Paint and backgrounds."""

from __future__ import annotations

import numpy as np
import pytest

from icd.data.clutter import LOOK, background, paint


@pytest.mark.parametrize("seed", range(5))
def test_paint_changes_what_is_covered_and_nothing_else(seed):
    before = np.full((40, 40, 3), 128, np.uint8)
    cover = np.zeros((40, 40), np.uint8)
    cover[10:30, 5:35] = 255
    after = before.copy()
    paint(after, cover, np.random.default_rng(seed))
    np.testing.assert_array_equal(after[cover == 0], before[cover == 0])
    assert (after[cover > 0] != 128).any(axis=-1).mean() > 0.5


def test_paint_is_mixed_by_coverage():
    sheer, full = np.zeros((2, 20, 20, 3), np.uint8)
    paint(full, np.full((20, 20), 255, np.uint8), np.random.default_rng(3))
    paint(sheer, np.full((20, 20), 51, np.uint8), np.random.default_rng(3))
    np.testing.assert_allclose(sheer, full / 5, atol=0.51)


def test_paint_without_coverage_changes_nothing():
    canvas = np.zeros((20, 20, 3), np.uint8)
    paint(canvas, np.zeros((20, 20), np.uint8), np.random.default_rng(0))
    assert not canvas.any()


def test_every_paint_is_visible_and_some_are_hard_to_see():
    contrasts = []
    for seed in range(200):
        canvas = np.full((30, 30, 3), 100, np.uint8)
        paint(canvas, np.full((30, 30), 255, np.uint8), np.random.default_rng(seed))
        contrasts.append(np.linalg.norm(canvas.mean(axis=(0, 1)) - 100))
    # A texture may shift the mean a little.
    assert min(contrasts) > 0.6 * LOOK.contrast
    assert 0.1 < np.mean(np.array(contrasts) < LOOK.contrast + LOOK.tone) < 0.5


def test_backgrounds_differ():
    first, second = (background(np.random.default_rng(seed), 128) for seed in range(2))
    assert first.shape == (128, 128, 3)
    assert first.dtype == np.uint8
    assert np.abs(first.astype(int) - second).mean() > 10
