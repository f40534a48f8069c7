"""Occlusion and composition."""

from __future__ import annotations

import numpy as np
import pytest

from icd.data import scene
from icd.data.scene import MIN_VISIBLE, PlacedObject, compose, draw_object, keep_visible

SIZE = 64


def box(label, left, right):
    """A block of the rows 0 to 10 and these columns."""
    cover = np.zeros((SIZE, SIZE), np.uint8)
    cover[:10, left:right] = 255
    return PlacedObject(label, 10.0 * (right - left), cover)


def test_the_upper_object_covers_the_lower():
    kept, masks = keep_visible([box(0, 0, 10), box(1, 5, 20)], SIZE)
    assert [placed.label for placed in kept] == [0, 1]
    assert masks.sum(axis=(1, 2)).tolist() == [100, 100]
    assert masks.sum(axis=0).max() == 1


def test_what_is_hidden_too_much_leaves_the_scene_and_hides_nothing():
    # Object 1 shows 30 percent; below it, object 2 would show 20 percent, but all of it without 1.
    kept, masks = keep_visible([box(0, 0, 7), box(1, 0, 10), box(2, 8, 12)], SIZE)
    assert [placed.label for placed in kept] == [0, 2]
    assert masks.sum(axis=(1, 2)).tolist() == [70, 40]


def test_the_least_visible_share_is_enough():
    kept, _ = keep_visible([box(0, 0, 4), box(1, 0, 10)], SIZE)
    assert pytest.approx(0.6) == MIN_VISIBLE
    assert [placed.label for placed in kept] == [0, 1]


def test_an_empty_stack_gives_no_masks():
    kept, masks = keep_visible([], SIZE)
    assert kept == []
    assert masks.shape == (0, SIZE, SIZE)


@pytest.mark.parametrize(("size", "most"), [(64, 3), (128, 6), (200, 9)])
def test_scenes_hold_one_to_max_objects(size, most):
    scenes = [compose(np.random.default_rng(seed), size, most, 8) for seed in range(25)]
    counts = [len(made.labels) for made in scenes]
    assert min(counts) >= 1
    assert most - 2 < max(counts) <= most
    for made in scenes:
        assert made.image.shape == (size, size, 3)
        assert made.image.dtype == np.uint8
        assert made.masks.shape == (len(made.labels), size, size)
        assert made.masks.sum(axis=0).max() == 1
        assert made.masks.any(axis=(1, 2)).all()


def test_objects_alone_show_enough_to_be_kept():
    rng = np.random.default_rng(0)
    for _ in range(300):
        placed = draw_object(rng, SIZE, 8)
        assert placed.mask.sum() > MIN_VISIBLE * placed.area


def test_every_mask_shows_the_object_that_was_painted_last(monkeypatch):
    painted = []

    def mark(canvas, cover, rng):
        painted.append(cover)
        canvas[cover >= 128] = len(painted)

    monkeypatch.setattr(scene, "paint", mark)
    monkeypatch.setattr(scene, "background", lambda rng, size: np.zeros((size, size, 3), np.uint8))
    monkeypatch.setattr(scene, "MAX_NOISE", 0)
    for seed in range(20):
        painted.clear()
        made = scene.compose(np.random.default_rng(seed), 128, 6, 8)
        shown = np.tensordot(np.arange(len(made.labels), 0, -1), made.masks, axes=1)
        np.testing.assert_array_equal(made.image[..., 0], shown)
