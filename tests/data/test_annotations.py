"""Completed annotation files, against masks drawn pixel by pixel."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as masks

from icd.data.annotations import complete, mask_of, polygons, read_annotations, run_lengths
from icd.errors import InputError

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
    assert complete(found) == {"area": 1, "iscrowd": 1, "id": 0}
    assert found == content(**entry, area=area, iscrowd=0)


def test_what_is_there_stays_as_it_is():
    found = content(area=7.5, iscrowd=1, segmentation=CODE)
    before = copy.deepcopy(found)
    assert complete(found) == {"area": 0, "iscrowd": 0, "id": 0}
    assert found == before


@pytest.mark.parametrize(("flag", "whole"), [(0.0, 0), (1.0, 1), (False, 0), (True, 1)])
def test_a_flag_of_another_type_becomes_a_whole_number(
    tmp_path: Path, flag: object, whole: int
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content(iscrowd=flag)))
    found = read_annotations(tmp_path / "a.json")
    complete(found)
    (annotation,) = found["annotations"]
    assert annotation["iscrowd"] == whole
    assert type(annotation["iscrowd"]) is int


@pytest.mark.parametrize("ids", [[0, 1, 2], [7, 7, 8], [None, 4, 5]])
def test_ids_that_evaluators_cannot_use_are_numbered_anew(
    tmp_path: Path, ids: list[int | None]
) -> None:
    found = content()
    (entry,) = found["annotations"]
    found["annotations"] = [
        {key: value for key, value in (entry | {"id": i}).items() if value is not None} for i in ids
    ]
    (tmp_path / "a.json").write_text(json.dumps(found))
    read = read_annotations(tmp_path / "a.json")
    assert complete(read)["id"] == 3
    assert [annotation["id"] for annotation in read["annotations"]] == [1, 2, 3]


@pytest.mark.parametrize("id", [20240101123457, 2**63 - 1])
def test_an_id_may_be_any_integer_of_64_bits(tmp_path: Path, id: int) -> None:
    found = content(id=id, image_id=id, category_id=id)
    found["images"][0]["id"] = found["categories"][0]["id"] = id
    (tmp_path / "a.json").write_text(json.dumps(found))
    assert read_annotations(tmp_path / "a.json") == found
    assert complete(found)["id"] == 0


FAR_AWAY: dict[str, dict[str, Any]] = {
    "NaN": {"segmentation": [[2, 3, 12, 3, 12, math.nan]]},
    "NaN first": {"segmentation": [[math.nan, 3, 12, 3, 12, 9]]},
    "infinity": {"segmentation": [[2, 3, math.inf, 3, 12, 9]]},
    "far away": {"segmentation": [[2, 3, 12, 3, 12, 8], [2, 3, 3e8, 3, 12, 9]]},
    "far above": {"segmentation": [[2, 3, 12, 3, 12, -3e8]]},
    "beyond floats": {"segmentation": [[2, 3, 12, 3, 12, 10**400]]},
    "a box": {"bbox": [0, 0, 3e8, 5]},
}


@pytest.mark.parametrize("area", [{}, {"area": 9}], ids=["no area", "area"])
@pytest.mark.parametrize("entry", FAR_AWAY.values(), ids=FAR_AWAY)
def test_what_would_take_all_memory_to_draw_is_named(
    tmp_path: Path, entry: dict[str, Any], area: dict[str, Any]
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content(**entry, **area)))
    problem = r"annotations\[0\]\.(segmentation|bbox): .*; expected .* from -300 to 300, near its"
    with pytest.raises(InputError, match=problem):
        read_annotations(tmp_path / "a.json")


def test_an_image_larger_than_any_reader_accepts_is_named(tmp_path: Path) -> None:
    found = content()
    found["images"][0]["width"] = 3_000_000_000
    (tmp_path / "a.json").write_text(json.dumps(found))
    with pytest.raises(InputError, match=r"width: is 3000000000; expected .* pixels to 1048576"):
        read_annotations(tmp_path / "a.json")


@pytest.mark.parametrize("entry", [entry for entry, _ in AREAS.values()], ids=AREAS)
def test_all_of_these_are_read(tmp_path: Path, entry: dict[str, Any]) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content(**entry)))
    assert read_annotations(tmp_path / "a.json") == content(**entry)


@pytest.mark.parametrize("code", [CODE["counts"], PACKED], ids=["lengths", "packed"])
def test_run_lengths_are_the_mask(code):
    found = content(segmentation={"size": [HEIGHT, WIDTH], "counts": code})
    decoded = masks.decode(run_lengths(found["annotations"][0], found["images"][0]))
    assert np.array_equal(decoded.astype(bool), MASK)


BAD_COUNTS = {
    "a text among them": ["a", 599],
    "a negative one": [-1, 601],
    "no whole number": [1.0, 599.0],
    "too few": [10],
    "too many": [10, 600],
    "none": [],
    "packed: none": "",
    "packed: cut off": PACKED[:-1],
    "packed: too many": PACKED + "5",
    "packed: no code": "no code",
    "packed: beyond ASCII": "\ud800",
}


@pytest.mark.parametrize("counts", BAD_COUNTS.values(), ids=BAD_COUNTS)
def test_run_lengths_that_are_not_their_image_are_named(tmp_path: Path, counts: Any) -> None:
    code = {"size": [HEIGHT, WIDTH], "counts": counts}
    (tmp_path / "a.json").write_text(json.dumps(content(segmentation=code)))
    problem = r"a\.json: annotations\[0\]\.segmentation\.counts: is .*; expected .* of 600 pixels"
    with pytest.raises(InputError, match=problem):
        read_annotations(tmp_path / "a.json")


def test_a_mask_of_one_pixel_is_read(tmp_path: Path) -> None:
    for code in ([0, 1], "01"):
        found = content(segmentation={"size": [1, 1], "counts": code})
        found["images"][0] |= {"width": 1, "height": 1}
        (tmp_path / "a.json").write_text(json.dumps(found))
        assert read_annotations(tmp_path / "a.json") == found


def test_a_mask_is_a_code_or_what_encloses_something():
    triangle = [0, 0, 5, 0, 5, 5]
    assert mask_of({"segmentation": [[], triangle]}) == [triangle]
    assert mask_of({"segmentation": CODE}) == CODE
    masks: list[Any] = [None, [[]], [[1] * 4]]
    nothing: list[dict[str, Any]] = [
        {},
        *({"segmentation": mask} for mask in masks),
    ]
    for empty in nothing:
        assert not mask_of(empty)


def test_only_polygons_that_enclose_something_are_polygons():
    triangle = [0, 0, 5, 0, 5, 5]
    parts = [[], [1, 1, 2, 2], triangle, [*triangle, 3]]
    assert polygons({"segmentation": parts}) == [triangle]
    assert polygons({"segmentation": CODE}) == polygons({}) == []
