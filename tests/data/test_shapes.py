"""The outlines are correct, and distinguishable when they are small."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.path import Path as Polygon

from icd.data.more_shapes import ALL_OUTLINES
from icd.data.shapes import OUTLINES, coverage, ring_area, transform

WINDOW = 24
NAMES = [*ALL_OUTLINES]


def area(outline):
    return ring_area(outline[0]) - sum(ring_area(hole) for hole in outline[1:])


def posed(name, area_px, angle, stretch, shift=(0.0, 0.0), size=WINDOW):
    outline = transform(ALL_OUTLINES[name], area_px, angle, stretch)
    return tuple(ring + size / 2 + np.array(shift) for ring in outline)


@pytest.mark.parametrize("name", NAMES)
def test_transform_keeps_the_area_and_centres_the_box(name):
    outline = transform(ALL_OUTLINES[name], 500.0, 0.3, 1.2)
    assert area(ALL_OUTLINES[name]) == pytest.approx(1, abs=1e-6)
    assert area(outline) == pytest.approx(500, rel=1e-6)
    np.testing.assert_allclose(outline[0].min(axis=0), -outline[0].max(axis=0))


@pytest.mark.parametrize("name", NAMES)
def test_coverage_agrees_with_points_in_the_polygon(name):
    outline = posed(name, 900.0, 0.3, 1.2, shift=(-3, 4), size=64)
    cover = coverage(outline, 64)
    centres = np.stack(np.meshgrid(np.arange(64) + 0.5, np.arange(64) + 0.5), axis=-1)
    inside = np.zeros(64 * 64, bool)
    for ring in outline:
        inside ^= Polygon(ring).contains_points(centres.reshape(-1, 2))
    differs = (cover >= 128) != inside.reshape(64, 64)
    # They may differ only where the border passes through the pixel.
    assert not (differs & ((cover < 64) | (cover > 192))).any()
    assert differs.sum() < 15
    assert cover.sum() / 255 == pytest.approx(900, rel=0.004)


def test_coverage_of_what_leaves_the_image_is_cut():
    square = transform(OUTLINES["square"], 400.0, 0.0, 1.0)  # 20 x 20 px
    at_the_left_border = np.array([0, 32])
    cover = coverage(tuple(ring + at_the_left_border for ring in square), 64)
    assert cover[24:40, :9].min() == 255
    assert cover.sum() / 255 == pytest.approx(200, rel=0.01)


def test_coverage_outside_of_the_image_is_nothing():
    assert not coverage(tuple(ring + 500 for ring in OUTLINES["ring"]), 64).any()
    assert not coverage(tuple(ring - 500 for ring in OUTLINES["ring"]), 64).any()


def test_small_shapes_are_nearest_to_their_own_class():
    rng = np.random.default_rng(0)

    def sample(name):
        angle = rng.integers(4) * math.pi / 2 + rng.uniform(-0.35, 0.35)
        shift = rng.uniform(-0.5, 0.5, 2)
        cover = coverage(posed(name, 80.0, angle, 1.25 ** rng.uniform(-1, 1), shift), WINDOW)
        return cover.ravel() / 255

    templates = np.array([[sample(name) for _ in range(150)] for name in NAMES])
    queries = np.array([[sample(name) for _ in range(25)] for name in NAMES])
    grid = queries.reshape(len(NAMES), 25, WINDOW, WINDOW)
    # What the training's augmentation does to them.
    for variant in (grid, grid[..., ::-1], grid[..., ::-1, :], grid.swapaxes(-1, -2)):
        similarity = np.tensordot(variant.reshape(queries.shape), templates, axes=(-1, -1))
        distance = ((templates**2).sum(axis=-1) - 2 * similarity).min(axis=-1)
        assert (distance.argmin(axis=-1) == np.arange(len(NAMES))[:, None]).mean() > 0.95
