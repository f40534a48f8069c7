"""The losses of a training, from the scalars that mmengine logs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from icd.errors import InputError
from icd.experiments.ablation import Ablation
from icd.experiments.options import Combination
from icd.experiments.run import Run, TrainedRun
from icd.experiments.track import Track
from icd.files import write_csv


def write(ablation: Ablation, track: Track, output: Path) -> None:
    """Write the logged losses of the figure's rows: row, run, iteration, loss, value."""
    runs = {row.id: row.runs[0] for row in ablation.choose(ablation.figures["curves"])}
    lines = [
        {"row": row, "run": run.id, "iteration": iteration, "loss": name, "value": value}
        for row, run in runs.items()
        for iteration, losses in logged(run.folder / "work", prefixes(run)).items()
        for name, value in losses.items()
    ]
    write_csv(output, pd.DataFrame(lines))


def prefixes(run: Run) -> tuple[str, ...]:
    """How the names of a run's losses start: with their method's name if there are several."""
    method = run.method if isinstance(run, TrainedRun) else None
    several = method.parts if isinstance(method, Combination) else []
    return ("loss", *(f"{part.name}.loss" for part in several))


def logged(work: Path, prefix: str | tuple[str, ...] = "loss") -> dict[int, dict[str, float]]:
    """Iteration (from 1) -> name -> value, of the scalars whose names start with (a) ``prefix``.

    Losses are means over the iterations since the last entry.

    A training that was resumed has one folder a session, named by its start. A later session
    repeats the iterations after its checkpoint, and what it logs of them counts.

    Raises:
        InputError: the training left no log in ``work``.
    """
    files = sorted(work.glob("*/vis_data/scalars.json"))
    if not files:
        expected = "the folder of a training, with <time>/vis_data/scalars.json"
        raise InputError(work, "", "holds no logged losses", expected)
    found: dict[int, dict[str, float]] = {}
    for file in files:
        for entry in entries(file):
            if values := {name: entry[name] for name in entry if name.startswith(prefix)}:
                found[entry["step"]] = values
    return dict(sorted(found.items()))


def entries(file: Path) -> Iterator[dict[str, Any]]:
    """The entries of a log; a process that was killed may leave its last line unfinished."""
    for line in file.read_text().splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue
