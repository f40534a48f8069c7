"""Gains of methods against their costs."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icd.commands import tables
from icd.cost import cases
from icd.experiments.ablation import Ablation, read_ablation
from icd.experiments.run import Cost
from icd.report import tradeoff
from icd.report.results import Results, read_results, write_results
from icd.report.summary import summarise
from icd.report.tables import markdown, numbers, write_tables
from tests.experiments.track_files import MINI, changed, track, write
from tests.report.small_table import known

MEASURED = {
    ("retinanet", "icd"): Cost(1.1, 30.0),
    ("retinanet", "cwd"): Cost(1.03, 4.6),
    ("fcos", "icd"): Cost(1.2, 40.0),
}
COSTS = {
    track(MINI).describe({"detector": detector, "method": method}, 0).step_key: cost
    for (detector, method), cost in MEASURED.items()
}
CONTENT: dict[str, Any] = {
    "title": "Methods",
    "question": "Which?",
    "baseline": "student",
    "costs": True,
    "rows": [
        {"id": "student", "label": "RetinaNet, student", "change": {"detector": "retinanet"}},
        {"id": "icd", "label": "RetinaNet, ICD", "change": {"method": "icd"}},
        {
            "id": "icd_inherit",
            "label": "RetinaNet, ICD + inheriting",
            "change": {"method": "icd", "inherit": True},
        },
        {"id": "cwd", "label": "RetinaNet, CWD", "change": {"method": "cwd"}},
        {
            "id": "deep",
            "label": "RetinaNet, ICD, 4 layers",
            "change": {"method": "icd", "options": {"layers": 4}},
        },
    ],
}
LEVELS = {"student": 0.1, "icd": 0.3, "icd_inherit": 0.4, "cwd": 0.2, "deep": 0.1}


@pytest.fixture
def ablation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ablation:
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path / "methods.yaml", CONTENT)
    return read_ablation(file, track(changed(MINI, "seeds", [0, 1])))


@pytest.fixture
def results(ablation: Ablation) -> Results:
    images = np.random.default_rng(0).normal(0, 0.01, 20)
    for row in ablation.rows:
        for run in row.runs:
            run.folder.mkdir(parents=True)
            replicates = (LEVELS[row.id] + images).tolist()
            found = {"metrics": {"bbox": {"AP": LEVELS[row.id]}}, "bootstrap": {"bbox": replicates}}
            run.metrics().write_text(json.dumps(found))
    write_results(ablation, Path("out"))
    return read_results(Path("out"))


def cells(text: str) -> dict[str, list[str]]:
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return {first.strip(): [cell.strip() for cell in rest] for first, *rest in lines}


def test_the_table_shows_what_a_step_costs(ablation: Ablation, results: Results) -> None:
    summary = summarise(ablation, results, COSTS)
    found = cells(markdown(summary))
    assert found[""][-2:] == ["time", "MiB"]
    assert found["RetinaNet, ICD"][-2:] == ["1.10", "30"]
    assert found["RetinaNet, ICD + inheriting"][-2:] == ["1.10", "30"]
    assert found["RetinaNet, CWD"][-2:] == ["1.03", "5"]
    assert found["RetinaNet, student"][-2:] == ["-", "-"], "it has no method"
    assert "as a ratio to the student's step" in markdown(summary)
    raw = numbers(summary).set_index("row")
    assert (raw.time["cwd"], raw.memory["cwd"]) == (1.03, 4.6)


def test_what_was_not_measured_is_not_made_up(ablation: Ablation, results: Results) -> None:
    write_tables(ablation, results, Path("out"))
    found = cells(Path("out/table.md").read_text())
    assert all(row[-2:] == ["-", "-"] for label, row in found.items() if label)


def test_a_table_without_costs_stays_as_it_is_when_they_are_measured(
    ablation: Ablation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "method_costs", lambda track: COSTS)
    args = argparse.Namespace(track="mini", data="data")
    assert tables._costs(ablation, args) == COSTS
    assert tables._costs(replace(ablation, costs=False), args) == {}


def test_each_measured_row_has_a_mark_at_its_cost_and_ap(
    ablation: Ablation, results: Results
) -> None:
    lines = [line for line in summarise(ablation, results, COSTS).entries if line.cost]
    time, memory = tradeoff.draw(ablation, lines).axes
    for axes, what in ((time, "time"), (memory, "memory")):
        marks = [
            tuple(np.asarray(mark.get_offsets())[0])
            for mark in axes.collections
            if str(mark.get_label())[0] != "_"
        ]
        expected = [(getattr(line.cost, what), known(line.level).mean) for line in lines]
        assert marks == [pytest.approx(place) for place in expected]
        assert [text.get_text() for text in axes.texts] == ["ICD", "ICD", "CWD"]


def test_names_are_not_written_over_each_other(ablation: Ablation, results: Results) -> None:
    """Also where several rows have the same cost and AP."""
    entry, *_ = (one for one in summarise(ablation, results, COSTS).entries if one.cost)
    figure = tradeoff.draw(ablation, [entry] * 4)
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts]
        assert len(boxes) == 4
        assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_each_detector_has_axes_of_its_own(ablation: Ablation, results: Results) -> None:
    entry, *_ = (one for one in summarise(ablation, results, COSTS).entries if one.cost)
    other = replace(entry, row=replace(entry.row, label="FCOS, ICD"))
    figure = tradeoff.draw(ablation, [entry, other, other])
    assert [len(axes.texts) for axes in figure.axes] == [1, 1, 2, 2]
    assert figure.axes[2].get_title(loc="left") == "FCOS"


def test_the_figure_is_written(ablation: Ablation, results: Results, tmp_path: Path) -> None:
    outputs = [tmp_path / f"tradeoff.{kind}" for kind in ("svg", "png")]
    tradeoff.write_tradeoff(ablation, results, COSTS, outputs)
    assert all(output.stat().st_size > 1000 for output in outputs)
    tradeoff.write_tradeoff(ablation, results, {}, outputs)  # nothing measured: empty, no crash
