"""COCO's own code rasterises the polygons to exactly the original mask."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from icd.data.polygons import mask_to_polygons


def decoded(polygons, shape):
    parts = coco_mask.frPyObjects(polygons, *shape)
    return coco_mask.decode(coco_mask.merge(parts)).astype(bool)


def block(*slices, shape=(20, 24)):
    mask = np.zeros(shape, bool)
    for part in slices:
        mask[part] ^= True
    return mask


MASKS = {
    "box": block(np.s_[3:9, 4:15]),
    "whole image": block(np.s_[:, :]),
    "at the borders": block(np.s_[:5, :4], np.s_[15:, 20:]),
    "ring": block(np.s_[2:18, 2:20], np.s_[7:12, 6:13]),
    "hole of one pixel": block(np.s_[2:18, 2:20], np.s_[7:8, 6:7]),
    "two holes": block(np.s_[2:18, 2:20], np.s_[4:8, 4:8], np.s_[10:15, 11:17]),
    "island in a hole": block(np.s_[1:19, 1:23], np.s_[4:16, 4:20], np.s_[8:12, 8:14]),
    "diagonal": np.eye(20, 24, dtype=bool) | np.eye(20, 24, 1, dtype=bool),
}


@pytest.mark.parametrize("name", MASKS)
def test_round_trip(name):
    mask = MASKS[name]
    np.testing.assert_array_equal(decoded(mask_to_polygons(mask), mask.shape), mask)


@pytest.mark.parametrize("seed", range(30))
def test_round_trip_of_random_masks(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((17, 23)) < rng.uniform(0.1, 0.9)
    np.testing.assert_array_equal(decoded(mask_to_polygons(mask), mask.shape), mask)


def test_coordinates_are_pixel_borders():
    (polygon,) = mask_to_polygons(MASKS["box"])
    corners = {tuple(corner) for corner in np.reshape(polygon, (-1, 2)).tolist()}
    assert corners == {(4, 3), (15, 3), (15, 9), (4, 9)}


def test_an_empty_mask_has_no_polygon():
    assert mask_to_polygons(np.zeros((8, 8), bool)) == []
