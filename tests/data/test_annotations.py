"""What an annotation file may leave out, against masks drawn pixel by pixel."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as masks

from icd.data.annotations import complete, polygons, read_annotations, run_lengths

HEIGHT, WIDTH = 20, 30
BOX = [2, 3, 10, 5]
MASK = np.zeros((HEIGHT, WIDTH), bool)
MASK[3:8, 2:12] = True
MASK[3, 2] = False


def counts(mask: np.ndarray) -> list[int]:
    """Lengths of the runs of zeros and ones, column by column, the first of zeros."""
    flat = mask.T.reshape(-1).astype(int)
    changes = np.flatnonzero(np.diff(flat, prepend=0))
    return np.diff([0, *changes, flat.size]).tolist()


def content(**entry: Any) -> dict[str, Any]:
    """An annotation file with one annotation."""
    annotation = {"id": 1, "image_id": 5, "category_id": 9, "bbox": BOX, **entry}
    return {
        "images": [{"id": 5, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
        "annotations": [annotation],
        "categories": [{"id": 9, "name": "cat"}],
    }


CODE = {"size": [HEIGHT, WIDTH], "counts": counts(MASK)}
PACKED = masks.encode(np.asfortranarray(MASK.astype(np.uint8)))["counts"].decode()
AREAS = {
    "a box": ({}, 50),
    "no mask": ({"segmentation": []}, 50),
    "null for a mask": ({"segmentation": None}, 50),
    "a line for a mask": ({"segmentation": [[2, 3, 9, 9]]}, 50),
    "two polygons, one pixel of both": (
        {"segmentation": [[2, 3, 12, 3, 12, 8, 2, 8], [11, 7, 13, 7, 13, 9, 11, 9]]},
        50 + 4 - 1,
    ),
    "run lengths": ({"segmentation": CODE}, 49),
    "packed run lengths": ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": PACKED}}, 49),
    "a box without width": ({"bbox": [2, 3, 0, 5]}, 0),
    "a box that is turned inside out": ({"bbox": [12, 8, -10, -5]}, 0),
}


@pytest.mark.parametrize(("entry", "area"), AREAS.values(), ids=AREAS)
def test_a_missing_area_is_that_of_the_mask_or_box(entry, area):
    found = content(**entry)
    assert complete(found) == {"area": 1, "iscrowd": 1}
    assert found == content(**entry, area=area, iscrowd=0)


def test_what_is_there_stays_as_it_is():
    found = content(area=7.5, iscrowd=1, segmentation=CODE)
    before = copy.deepcopy(found)
    assert complete(found) == {"area": 0, "iscrowd": 0}
    assert found == before


@pytest.mark.parametrize("entry", [entry for entry, _ in AREAS.values()], ids=AREAS)
def test_all_of_these_are_read(tmp_path: Path, entry):
    (tmp_path / "a.json").write_text(json.dumps(content(**entry)))
    assert read_annotations(tmp_path / "a.json") == content(**entry)


@pytest.mark.parametrize("code", [CODE["counts"], PACKED], ids=["lengths", "packed"])
def test_run_lengths_are_the_mask(code):
    found = content(segmentation={"size": [HEIGHT, WIDTH], "counts": code})
    decoded = masks.decode(run_lengths(found["annotations"][0], found["images"][0]))
    assert np.array_equal(decoded.astype(bool), MASK)


def test_only_polygons_that_enclose_something_are_polygons():
    triangle = [0, 0, 5, 0, 5, 5]
    parts = [[], [1, 1, 2, 2], triangle, [*triangle, 3]]
    assert polygons({"segmentation": parts}) == [triangle]
    assert polygons({"segmentation": CODE}) == polygons({}) == []
