"""TIDE on detections with known errors."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from hotcoco import COCO

from icd.evaluation.coco import coco_metrics
from icd.experiments.ablation import load_ablation
from icd.figures.measure_errors import tide, write
from tests.figures.tracks import track

TYPES = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")
# Two classes; in each of four images one object of each.
OBJECTS: list[dict[str, Any]] = [
    {"id": 2 * image + place + 1, "image_id": image, "category_id": place + 1}
    | {"bbox": [10 + 40 * place, 10, 20, 20], "area": 400, "iscrowd": 0}
    for image in range(4)
    for place in range(2)
]
TRUTH = {
    "images": [{"id": i, "width": 100, "height": 100, "file_name": f"{i}.png"} for i in range(4)],
    "categories": [{"id": 1, "name": "disk"}, {"id": 2, "name": "ring"}],
    "annotations": OBJECTS,
}


def guesses(score: float = 0.5, move: float = 0, swap: bool = False) -> list[dict[str, Any]]:
    """A detection of each object, moved to the right or of the other class."""
    return [
        {
            "image_id": thing["image_id"],
            "category_id": 3 - thing["category_id"] if swap else thing["category_id"],
            "bbox": [thing["bbox"][0] + move, *thing["bbox"][1:]],
            "score": score + thing["id"] / 1000,
        }
        for thing in OBJECTS
    ]


@pytest.fixture
def errors_of(tmp_path):
    """TIDE's answer for a list of detections."""
    (tmp_path / "truth.json").write_text(json.dumps(TRUTH))

    def found(detections: list[dict]) -> dict[str, Any]:
        file = tmp_path / "found.json"
        file.write_text(json.dumps(detections))
        result = tide(COCO(str(tmp_path / "truth.json")), file, "bbox")
        metrics = coco_metrics(tmp_path / "truth.json", file, "bbox")
        assert result["ap_base"] == pytest.approx(metrics["AP50"])
        return result

    return found


CASES = {
    "none": (guesses(), {}),
    "wrong classes": (guesses(swap=True), {"Cls": 8}),
    # IoU of boxes of 20 pixels, 10 apart: 1/3; as far as 18 apart: 1/19.
    "moved boxes": (guesses(move=10), {"Loc": 8}),
    "moved boxes of wrong classes": (guesses(move=10, swap=True), {"Both": 8, "Miss": 8}),
    "twice": (guesses() + guesses(score=0.3), {"Dupe": 8}),
    "far away": (guesses() + guesses(score=0.9, move=18), {"Bkg": 8}),
    "half of them": (guesses()[:4], {"Miss": 4}),
    "nothing": ([], {"Miss": 8}),
}


@pytest.mark.parametrize(("detections", "counts"), CASES.values(), ids=CASES)
def test_counts_each_type(errors_of, detections, counts):
    assert errors_of(detections)["counts"] == dict.fromkeys(TYPES, 0) | counts


@pytest.mark.parametrize(("swap", "move", "name"), [(True, 0, "Cls"), (False, 10, "Loc")])
def test_the_only_error_is_worth_all_of_ap(errors_of, swap, move, name):
    found = errors_of(guesses(swap=swap, move=move))
    assert found["ap_base"] == 0
    assert found["delta_ap"] == dict.fromkeys((*TYPES, "FP", "FN"), 0) | {name: 1}


def test_confident_background_costs_precision(errors_of):
    """Half of all detections are right, and the other half stands before them."""
    found = errors_of(guesses() + guesses(score=0.9, move=18))
    assert found["ap_base"] == pytest.approx(0.5)
    assert found["delta_ap"]["Bkg"] == found["delta_ap"]["FP"] == pytest.approx(0.5)


def test_writes_rows_and_seeds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ablation = load_ablation("main", track())
    (tmp_path / "data").mkdir()
    ignored = OBJECTS[0] | {"id": 99, "bbox": [60, 60, 20, 20], "ignore": 1, "score": "x"}
    truth = TRUTH | {"annotations": [*OBJECTS, ignored]}
    (tmp_path / "data/test-1000.json").write_text(json.dumps(truth))
    for row in ablation.choose(["student", "icd", "icd_inherit", "teacher"]):
        for run in row.runs:
            (run.folder / "test").mkdir(parents=True)
            found = guesses(swap=row.id == "student")
            (run.folder / "test/bbox.json").write_text(json.dumps(found))
    write(ablation, track(), tmp_path / "errors.csv")
    table = pd.read_csv(tmp_path / "errors.csv")
    assert list(table.columns) == ["row", "run", "AP50", "error", "dAP", "count"]
    assert len(table) == (3 * 3 + 1) * 8, "one teacher for all seeds"
    assert (table[table.row != "student"].dAP == 0).all()
    student = table[(table.row == "student") & (table.error == "Cls")]
    assert student.dAP.tolist() == [1, 1, 1]
    assert student["count"].tolist() == [8, 8, 8]
    assert table[table.error.isin(["FP", "FN"])]["count"].isna().all()
