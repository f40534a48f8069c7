"""The criteria of a scale, against values that can be checked by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from benchmarks.regime import Criterion, of_objects, of_pyramids, of_runs, table
from icd.experiments.ablation import load_ablation
from icd.experiments.track import load_track
from icd.experiments.yaml_files import ROOT
from icd.report.diagnosis import DecoderDiagnosis
from icd.report.results import read_results
from icd.report.summary import summarise


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


def cells(text: str) -> list[list[str]]:
    """The cells of all lines of tables in a text."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_says_which_are_met() -> None:
    found = [Criterion("one", 3.0, 2.0, 4.0), Criterion("two", 1.0, 2.0, float("inf"))]
    assert cells(table(found))[2:] == [
        ["one", "2 to 4", "3", "yes"],
        ["two", "at least 2", "1", "no"],
    ]


@pytest.mark.parametrize("track", ["mini", "desk"])
def test_the_guide_shows_the_committed_regime(track: str) -> None:
    """The objects are left out, because generated data are not committed."""
    results = read_results(ROOT / "results" / track / "regime")
    summary = summarise(load_ablation("regime", load_track(track)), results)
    found = [*of_runs(summary), *of_pyramids(results.diagnosis)]
    shown = cells((ROOT / "docs/scales.md").read_text())
    assert all(line in shown for line in cells(table(found))[2:])
