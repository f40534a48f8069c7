"""The list of runs with their states."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import get_args

from icd.experiments.ablation import ablation_names, load_ablation
from icd.experiments.run import Run, load_run
from icd.experiments.track import Track
from icd.markdown import table
from icd.upkeep.states import RunState, State, average_precision, state_of

RESULTS = Path("results")
COLUMNS = ("run", "state", "AP", "age", "")
UNPLANNED = "in no table"
LONGEST = 100  # characters of a detail


def planned_runs(track: Track) -> dict[str, Run]:
    """The runs of all tables of a track by id."""
    tables = (load_ablation(name, track) for name in ablation_names(track))
    return {run.id: run for table in tables for run in table.runs}


def runs_in(results: Path) -> dict[str, Run]:
    """The runs whose folders lie in a track's results, by id."""
    files = sorted((results / "runs").glob("*/run.json"))
    return {file.parent.name: load_run(file.parent) for file in files}


def list_track(track: Track) -> str:
    """All runs of a track, also those that are planned, as text."""
    planned = planned_runs(track)
    return _text(track.name, {**planned, **runs_in(track.results)}, planned)


def list_all() -> str:
    """The runs of all tracks whose folders lie here, as text."""
    found = {folder.name: runs_in(folder) for folder in sorted(RESULTS.glob("*/"))}
    texts = [_text(name, runs, runs) for name, runs in found.items() if runs]
    return (
        "\n\n".join(texts) or "No run lies in results/; `icd runs --track NAME` lists planned ones."
    )


def _text(name: str, runs: Mapping[str, Run], planned: Iterable[str]) -> str:
    order = get_args(State)
    known = {run: state_of(description) for run, description in runs.items()}
    counts = Counter(one.state for one in known.values())
    summary = ", ".join(f"{counts[state]:,} {state}" for state in order if counts[state])
    ids = sorted(known, key=lambda run: (order.index(known[run].state), known[run].since or 0, run))
    lines = [_line(run, known[run], runs[run], run in planned) for run in ids]
    return f"{name}: {summary or 'no runs'}\n\n{table(COLUMNS, lines, text=True)}"


def _line(name: str, state: RunState, run: Run, planned: bool) -> tuple[str, ...]:
    measured = average_precision(run)
    split, value = measured or ("", 0.0)
    shown = f"{value:.1f}" + (f" ({split})" if split != "test" else "") if measured else ""
    detail = state.detail if len(state.detail) <= LONGEST else f"{state.detail[:LONGEST]}..."
    notes = [*([detail] if detail else []), *([] if planned else [UNPLANNED])]
    old = "" if state.since is None else age(time.time() - state.since)
    return name, state.state, shown, old, "; ".join(notes)


def age(seconds: float) -> str:
    """A duration in its largest unit, e.g. ``5 min`` or ``3 days``."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
