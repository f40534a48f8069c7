"""The state of a run, from what its folder holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from icd.experiments.run import Run
from icd.experiments.splits import TEST
from icd.files import read_json
from icd.process.attempts import describe
from icd.process.failures import TRAINING, Failure, failures
from icd.process.lock import NAME as LOCK
from icd.process.lock import held_by

State = Literal["running", "failed", "stopped", "finished", "planned"]


@dataclass(frozen=True)
class RunState:
    """What became of a run.

    since: time of the last change of this state, in seconds since 1970; None if nothing was done.
    detail: more in words; may be empty.
    busy: whether a process may work in its folder. Also True for steps on another host that ended
        without a message, because nobody here can tell.
    """

    state: State
    since: float | None = None
    detail: str = ""
    busy: bool = False


def state_of(run: Run) -> RunState:
    """The state of a run whose folder may not exist."""
    folder = run.folder
    if holder := held_by(folder):
        return RunState("running", _time(folder / LOCK), holder, busy=True)
    if records := failures(folder):
        return _of_records(records)
    if all(file.is_file() for file in run.outputs):
        detail = "" if average_precision(run) else "not evaluated"
        return RunState("finished", _time(run.weights), detail)
    saved = sorted((folder / "work").glob("iter_*.pth"), key=_time)
    if saved:
        (done,) = re.findall(r"\d+", saved[-1].stem)
        return RunState("stopped", _time(saved[-1]), f"at {int(done):,} of {run.iterations:,}")
    if (folder / "work").is_dir():
        return RunState("stopped", _time(folder / "work"), "before the first checkpoint")
    return RunState("planned")


def _of_records(records: Sequence[Failure]) -> RunState:
    """The state of a run with steps that are under way, or that failed."""
    busy = any(record.under_way is not False for record in records)
    first = next((record for record in records if record.under_way), records[0])
    step = "" if first.step == TRAINING else f"evaluation on {first.step}: "
    if first.under_way:
        return RunState("running", first.since, step + describe(first.content), busy)
    return RunState("failed", first.since, step + first.words, busy)


def average_precision(run: Run) -> tuple[str, float] | None:
    """AP of a run in percent and the split it was measured on: test, else another; or None.

    AP of boxes; of masks for a detector without boxes.
    """
    files = [run.metrics(TEST), *sorted(run.folder.glob("metrics-*.json"))]
    for file in filter(Path.is_file, files):
        metrics = read_json(file, "metrics that icd evaluate wrote")["metrics"]
        values = metrics.get("bbox") or metrics.get("segm") or {}
        split = TEST if file == files[0] else file.stem.removeprefix("metrics-")
        return split, 100 * (values.get("AP") or 0.0)  # without any box, there is no value
    return None


def _time(file: Path) -> float:
    return file.stat().st_mtime
