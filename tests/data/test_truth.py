"""The ground truth that evaluators receive from an annotation file."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from icd.data.truth import ground_truth

BOX = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 3, 10, 5], "area": 50, "iscrowd": 0}
TRIANGLE = [2, 3, 12, 3, 12, 8]


def content(*annotations: dict[str, Any]) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 30, "height": 20}],
        "annotations": [BOX | annotation for annotation in annotations],
        "categories": [{"id": 1, "name": "cat"}],
    }


def test_fields_that_nothing_needs_are_left_out():
    found = content({"segmentation": [TRIANGLE]})
    before = copy.deepcopy(found)
    odd = copy.deepcopy(found) | {"info": 3, "licenses": ""}
    odd["images"][0] |= {"date_captured": 0, "license": "", "coco_url": 0}
    odd["annotations"][0] |= {"score": "x", "keypoints": 0}
    odd["categories"][0] |= {"supercategory": 0, "keypoints": ""}
    assert ground_truth(odd) == ground_truth(found) == found == before


NOT_LEARNED = [{"area": 0}, {"bbox": [2, 3, 0.5, 5]}, {"bbox": [30, 3, 10, 5]}]


@pytest.mark.parametrize("change", NOT_LEARNED, ids=str)
def test_what_cannot_be_seen_counts_as_by_cocos_protocol(change):
    assert ground_truth(content(change)) == content(change | {"segmentation": []})


def test_what_is_ignored_is_a_crowd_with_a_mask():
    first, second = ground_truth(
        content({"ignore": 1}, {"ignore": 1, "segmentation": [TRIANGLE]}),
    )["annotations"]
    assert first == BOX | {"iscrowd": 1, "segmentation": [[2, 3, 12, 3, 12, 8, 2, 8]]}
    assert second == BOX | {"iscrowd": 1, "segmentation": [TRIANGLE]}


def test_polygons_that_enclose_nothing_are_left_out():
    parts = [[], [1, 1, 5, 5], TRIANGLE]
    (found,) = ground_truth(content({"segmentation": parts}))["annotations"]
    assert found["segmentation"] == [TRIANGLE]
