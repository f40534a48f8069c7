"""How boxes are written is found by what fits the images."""

from __future__ import annotations

from pathlib import Path

import pytest

from icd.new_track.boxes import Way, corners, way_of
from icd.new_track.objects import class_names, columns, index, label_column
from icd.new_track.parts import box_annotation

SIZE = (200, 100)
CORNERS = [[20.0, 10.0, 60.0, 50.0], [150.0, 60.0, 200.0, 100.0]]
WIDTHS = [[20.0, 10.0, 40.0, 40.0], [150.0, 60.0, 50.0, 40.0]]


def fractions(boxes: list[list[float]]) -> list[list[float]]:
    return [[value / side for value, side in zip(box, SIZE * 2, strict=True)] for box in boxes]


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("as_corners", [False, True])
def test_the_way_is_found_and_leads_to_the_same_corners(as_corners: bool, relative: bool) -> None:
    boxes = CORNERS if as_corners else WIDTHS
    boxes = fractions(boxes) if relative else boxes
    way = way_of([boxes], [SIZE])
    assert way == Way(as_corners, relative)
    for box, expected in zip(boxes, CORNERS, strict=True):
        assert corners(box, way, SIZE) == pytest.approx(expected)


def test_boxes_that_fit_both_ways_are_coco_s() -> None:
    assert not way_of([[[10.0, 10.0, 30.0, 30.0]]], [SIZE]).corners
    assert way_of([[]], [SIZE]) == Way(False, False)


def test_a_box_is_cut_at_its_image() -> None:
    assert box_annotation([-5, 90, 50.004, 130], *SIZE) == {
        "bbox": [0, 90, 50.0, 10],
        "area": 500.0,
        "iscrowd": 0,
    }
    for outside in ([-9, 0, 0.5, 50], [0, 0, 50, 0.9], [float("nan"), 0, 9, 9], [300, 0, 310, 9]):
        assert box_annotation(outside, *SIZE) is None


def test_objects_are_lists_or_a_list() -> None:
    as_lists = {"bbox": [[1, 2, 3, 4], [5, 6, 7, 8]], "label": ["cat", "dog"]}
    as_list = [{"bbox": [1, 2, 3, 4], "label": "cat"}, {"bbox": [5, 6, 7, 8], "label": "dog"}]
    assert columns(as_lists) == columns(as_list) == as_lists
    assert columns([]) == {}


def test_classes_without_names_get_some() -> None:
    assert class_names([["dog"], ["cat", "dog"]]) == ["cat", "dog"]
    assert index("dog", ["cat", "dog"]) == 1
    assert class_names([[2], [0]]) == ["class 0", "class 1", "class 2"]
    assert index(2, ["class 0", "class 1", "class 2"]) == 2


def test_names_of_classes_are_those_of_the_library() -> None:
    datasets = pytest.importorskip("datasets")
    label, text = datasets.ClassLabel(names=["cat", "dog"]), datasets.Value("string")
    box = [datasets.Value("float32")]
    for objects in (
        {"bbox": [box], "category": [label]},
        [{"bbox": box, "category": label}],
        datasets.List({"bbox": box, "category": label}),
    ):
        assert label_column(objects, Path()) == ("category", ["cat", "dog"])
    assert label_column({"bbox": [box], "labels": [text]}, Path()) == ("labels", [])
