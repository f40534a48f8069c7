"""A small table with runs that need no training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from icd.experiments.ablation import Ablation
from icd.report.results import Results, read_results, write_results
from icd.report.summary import summarise
from icd.report.tables import markdown

ROWS: dict[str, tuple[str, dict[str, Any], float | None]] = {
    "teacher": ("Teacher", {"role": "teacher"}, 40.4),
    "student": ("Student", {}, 37.4),
    "inherit": ("Student + inheriting", {"inherit": True}, None),
    "icd": ("ICD", {"method": "icd"}, 39.9),
}
CONTENT: dict[str, Any] = {
    "title": "A title",
    "question": "A question?",
    "notes": "Some notes.",
    "baseline": "student",
    "rows": [
        {"id": name, "label": label, "change": change}
        | ({"published": {"AP": value, "source": f"source of {name}"}} if value else {})
        for name, (label, change, value) in ROWS.items()
    ],
}
SEEDS = [0, 1, 2]
LEVELS = {"teacher": 0.5, "student": 0.1, "inherit": 0.15, "icd": 0.3}
GAIN = "gain over Student [95 %]"
T = TypeVar("T")


def known(value: T | None) -> T:
    """A value that the test expects to be there."""
    assert value is not None
    return value


def place(ablation: Ablation, content: dict[str, dict]) -> None:
    """Leave these metrics where the pipeline does."""
    for run in ablation.runs:
        run.folder.mkdir(parents=True, exist_ok=True)
        if run.id in content:
            (run.folder / "metrics.json").write_text(json.dumps(content[run.id]))


def collected(ablation: Ablation, content: dict[str, dict]) -> Results:
    """What is read back from the CSV files."""
    place(ablation, content)
    write_results(ablation, Path("out"))
    return read_results(Path("out"))


def shown(ablation: Ablation, results: Results) -> dict[str, dict[str, str]]:
    """Cells of the Markdown table by label and column."""
    text = markdown(summarise(ablation, results))
    lines = [line for line in text.splitlines() if line.startswith("|") and "--" not in line]
    header, *body = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {row[0]: dict(zip(header, row, strict=True)) for row in body}
