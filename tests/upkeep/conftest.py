"""A small track in an empty project, and runs in all states."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from icd.experiments.run import Run
from icd.experiments.track import Track
from icd.experiments.yaml_files import WORKFLOW
from icd.upkeep.leftovers import with_generated_data
from icd.upkeep.listing import planned_runs
from tests.processes import end, hold

SPLITS = {"train": 6, "test": 3}


@pytest.fixture
def track(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Track:
    """A track with few tables, whose file lies in the current folder."""
    monkeypatch.chdir(tmp_path)
    tables = ["main", "schedules"]
    monkeypatch.setattr("icd.upkeep.listing.ablation_names", lambda track: tables)
    content = yaml.safe_load((WORKFLOW / "tracks/mini.yaml").read_text())
    content["name"] = "tiny"
    del content["roles"]["student"]["pretrained"]
    content["data"] = {"synthetic": {"seed": 3, "image_size": 64}, "splits": SPLITS}
    Path("tiny.yaml").write_text(yaml.safe_dump(content))
    return with_generated_data("tiny.yaml")


@pytest.fixture
def runs(track: Track) -> list[Run]:
    """The runs of its tables."""
    return [*planned_runs(track).values()]


def write(file: Path, size: int = 1000) -> Path:
    """A file of so many bytes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * size)
    return file


def describe(run: Run) -> Path:
    """The folder of a run that is described, as before its training."""
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "run.json").write_text(json.dumps(run.description))
    return run.folder


def stop(run: Run, iteration: int = 100) -> Path:
    """The folder of a run that was interrupted."""
    write(describe(run) / f"work/iter_{iteration}.pth", 4_000_000)
    return run.folder


def finish(run: Run, ap: float | None = None) -> Path:
    """The folder of a finished run, evaluated if it has an AP (as a fraction)."""
    folder = stop(run, run.iterations)
    for file in run.outputs:
        kept = write(folder / "work/finished" / file.name, 2_000_000)
        os.link(kept, file)
    write(folder / "work/log/vis_data/scalars.json")
    if ap is not None:
        content = {"metrics": {"bbox": {"AP": ap}}}
        (folder / "metrics.json").write_text(json.dumps(content))
    return folder


def fail(run: Run, error: str, step: str = "", **attempt: object) -> Path:
    """The folder of a run with the record of a failure."""
    folder = describe(run)
    record = {"error": error, "host": "elsewhere", "pid": 1, "since": "2026", **attempt}
    (folder / f"failed{step and '-'}{step}.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def running(runs: list[Run]) -> Iterator[Run]:
    """The last run, whose lock another process holds."""
    process = hold(stop(runs[-1]))
    yield runs[-1]
    end(process)
