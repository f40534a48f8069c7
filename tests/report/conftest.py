"""A small table, its metrics and the numbers collected from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icd.experiments.ablation import Ablation, Row, read_ablation
from icd.report.results import Results
from icd.report.summary import METRICS
from tests.experiments.track_files import MINI, changed, track, write
from tests.report.small_table import CONTENT, LEVELS, SEEDS, collected


@pytest.fixture
def ablation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ablation:
    monkeypatch.chdir(tmp_path)
    return read_ablation(
        write(tmp_path / "table.yaml", CONTENT), track(changed(MINI, "seeds", SEEDS))
    )


@pytest.fixture
def content(ablation: Ablation) -> dict[str, dict[str, Any]]:
    """Metrics of every run, with all their digits; large objects are missing."""
    random = np.random.default_rng(0)
    found: dict[str, dict[str, Any]] = {}
    images = random.normal(0, 0.02, 50)
    for row in ablation.rows:
        for run in row.runs:
            metrics: dict[str, float | None] = {
                name: float(random.random()) for name in (*METRICS, "AR1")
            }
            ap = LEVELS[row.id] + float(random.normal(0, 0.01))
            metrics |= {"APl": None, "AP": ap}
            bootstrap = ap + images + random.normal(0, 0.005, 50)
            found[run.id] = {
                "metrics": {"bbox": metrics},
                "bootstrap": {"bbox": bootstrap.tolist()},
                "seconds": 1.0,
            }
    return found


@pytest.fixture
def results(ablation: Ablation, content: dict[str, dict[str, Any]]) -> Results:
    return collected(ablation, content)


@pytest.fixture
def broken(ablation: Ablation, content: dict[str, dict[str, Any]]) -> tuple[Ablation, Results]:
    """One seed of inheriting failed, ICD's teacher of seed 1 too; a row that cannot be."""
    first, *_ = ablation.row("inherit").runs
    teacher = ablation.row("teacher").runs[1]
    waiting = [run for r in ablation.rows for run in r.runs if teacher in run.sources]
    for run in (teacher, *waiting, *ablation.row("icd").runs):
        content.pop(run.id, None)
    first.folder.mkdir(parents=True)
    (first.folder / "failed.json").write_text('{"error": "RuntimeError: no\\nmemory"}')
    teacher.folder.mkdir(parents=True)
    (teacher.folder / "failed.json").write_text('{"error": "ValueError: x"}')
    absent = Row("zoo", "Zoo & 50 %", (), None, absent="needs COCO")
    ablation = replace(ablation, rows=(*ablation.rows, absent))
    return ablation, collected(ablation, content)
