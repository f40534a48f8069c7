"""A table shows how large and how fast detectors are, if it is asked to and they were measured."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from icd.experiments.ablation import Ablation
from icd.report.deployment import FOLDER, Deployment
from icd.report.existing import Table
from icd.report.notes import DEPLOYMENT as NOTE
from icd.report.results import Results, read_results
from icd.report.summary import summarise
from icd.report.tables import DEPLOYMENT, markdown, numbers
from icd.web.tables import table_data
from tests.report.small_table import collected, shown

SMALL = Deployment(parameters=1_234_567, flops=8_900_000_000, milliseconds=12.34, megabytes=5.06)
REFUSED = Deployment(
    parameters=36_000_000, flops=100_000_000_000, milliseconds=None, megabytes=None
)


def measured(ablation: Ablation, content: dict[str, dict[str, Any]]) -> Results:
    """The results, with the deployment of the teacher and of a seed of the student."""
    collected(ablation, content)
    Path(FOLDER).mkdir()
    runs = ablation.row("student").runs[1], ablation.row("teacher").runs[0]
    for run, found in zip(runs, (SMALL, REFUSED), strict=True):
        Path(FOLDER, f"{run.id}.json").write_text(json.dumps({"run": run.id, **asdict(found)}))
    return read_results(Path("out"))


def test_a_table_shows_them(ablation: Ablation, content: dict[str, dict[str, Any]]) -> None:
    results, ablation = measured(ablation, content), replace(ablation, deployment=True)
    cells = {
        label: [row[name] for name in DEPLOYMENT.values()]
        for label, row in shown(ablation, results).items()
    }
    assert cells == {
        "Teacher": ["36.00", "100.00", "-", "-"],
        "Student": ["1.23", "8.90", "12.3", "5.1"],
        "Student + inheriting": ["-"] * 4,
        "ICD": ["-"] * 4,
    }
    summary = summarise(ablation, results)
    assert NOTE in markdown(summary)
    table = numbers(summary).set_index("row")
    assert table.loc["student", ["flops", "milliseconds"]].tolist() == [8_900_000_000, 12.34]
    assert table.loc[["teacher", "icd"], "megabytes"].isna().all()


def test_the_interactive_page_sorts_by_them(
    ablation: Ablation, content: dict[str, dict[str, Any]]
) -> None:
    results, ablation = measured(ablation, content), replace(ablation, deployment=True)
    data = table_data(Table(ablation, results, Path("out"), {}))
    values = {row.id: row.cells["megabytes"].value for row in data.rows}
    assert values == {"teacher": None, "student": 5.06, "inherit": None, "icd": None}


def test_it_is_shown_only_if_asked_for_and_measured(
    ablation: Ablation, content: dict[str, dict[str, Any]], results: Results
) -> None:
    assert NOTE not in markdown(summarise(replace(ablation, deployment=True), results))
    known = measured(ablation, content)
    assert NOTE not in markdown(summarise(ablation, known))
    assert not {"flops", "megabytes"} & {*numbers(summarise(ablation, known))}
