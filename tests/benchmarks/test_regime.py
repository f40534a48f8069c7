"""The criteria of a scale, against values that can be checked by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from benchmarks.regime import Criterion, of_objects, of_pyramids, of_runs, table
from icd.report.diagnosis import DecoderDiagnosis


def values(found: Any) -> dict[str, float]:
    return {one.name: one.value for one in found}


def test_runs_say_how_far_student_and_teacher_are() -> None:
    decoder = DecoderDiagnosis(
        effective_tokens=50, effective=0.25, inside=0.4, boxes=0.2, recognised=0.9, mistaken=0.01
    )
    levels = {"student": [30.0, 32.0], "student_2x": [33.0, 33.0], "teacher": [38.0], "icd": [34.0]}
    summary: Any = SimpleNamespace(
        entry=lambda name: SimpleNamespace(metrics={"AP": levels[name]}, decoder=decoder)
    )
    found = list(of_runs(summary))
    assert [one.value for one in found] == pytest.approx([2.0, 5.0, 90.0, 1.0, 25.0])
    assert all(one.is_met for one in found)
    levels["teacher"] = [36.0]
    assert [one.is_met for one in of_runs(summary)] == [True, False, True, True, True]


def test_levels_are_compared_within_a_pyramid() -> None:
    diagnosis = pd.DataFrame(
        {
            "row": ["icd", "icd", "student"],
            "rms/teacher/stride8": [1.0, 3.0, None],
            "rms/teacher/stride16": [6.0, 6.0, None],
            "rms/student/stride8": [1.0, 1.0, 1.0],
        },
        dtype=object,
    )
    found = list(of_pyramids(diagnosis))
    assert [one.value for one in found] == [0.5, 1.5, 1.0, 1.0]
    assert all(one.is_met for one in found)


def test_objects_are_measured_against_their_image() -> None:
    annotations = {
        "images": [{"id": 1, "width": 100, "height": 50}, {"id": 2, "width": 10, "height": 10}],
        "annotations": [
            {"image_id": 1, "area": 50},  # 1 % of the image
            {"image_id": 1, "area": 200},  # 4 %
            {"image_id": 2, "area": 25},  # 25 %
        ],
    }
    assert values(of_objects(annotations)) == pytest.approx(
        {
            "median relative size": 0.2,
            "objects per image": 1.5,
            "area of objects, % of the image": 15.0,
        }
    )


def test_the_table_says_which_are_met() -> None:
    found = [Criterion("one", 3.0, 2.0, 4.0), Criterion("two", 1.0, 2.0, float("inf"))]
    lines = table(found).splitlines()[2:]
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in lines] == [
        ["one", "2 to 4", "3", "yes"],
        ["two", "at least 2", "1", "no"],
    ]
