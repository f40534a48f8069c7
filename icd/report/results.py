"""Raw numbers of an ablation in tidy tables: one line per row, seed and metric."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from icd.errors import InputError
from icd.experiments.ablation import Ablation, Row
from icd.experiments.run import Run
from icd.experiments.sources import known_inputs, require_same_weights
from icd.experiments.splits import TEST
from icd.files import atomic
from icd.process.failures import failure

Metrics = dict[str, Any]  # the content of a run's metrics.json

KINDS = {"bbox": "", "segm": "Mask "}  # what stands before AP
DONE, NOT_RUN, FAILED, ABSENT = "done", "not run", "failed", "absent"
LINES, BOOTSTRAP = "results.csv", "bootstrap.csv"
KEYS = ["row", "run", "seed", "kind"]  # of a line of replicates; the others are their numbers


def write_results(
    ablation: Ablation, folder: Path, earlier: Mapping[str, Metrics] | None = None
) -> None:
    """Gather what the runs of an ablation have left behind.

    Writes ``results.csv`` (metrics unrounded; a run without them has one line with a status and
    without a value) and ``bootstrap.csv`` (a line of AP under resampled images per run and kind).

    Args:
        ablation: the table.
        folder: of its results.
        earlier: metrics of runs that need not have been trained here, see :func:`tabulated`.

    Raises:
        InputError: the runs have not come from the same weights.
    """
    found = {run.id: _outcome(run, ablation.split, earlier or {}) for run in ablation.measured}
    done = [run for run, (state, _) in found.items() if state == DONE]
    require_same_weights(known_inputs(folder.parent / "manifests", done))
    lines = _frame([line for row in ablation.rows for line in _lines(row, ablation, found)])
    last = ["split", "status", "kind", "metric", "value"]
    lines = lines[[*lines.columns.drop(last), *last]]
    replicates = _frame([line for row in ablation.rows for line in _replicates(row, found)])
    for name, frame in ((LINES, lines), (BOOTSTRAP, replicates)):
        with atomic(folder / name) as temporary:
            frame.to_csv(temporary, index=False)


def _frame(lines: list[dict[str, Any]]) -> pd.DataFrame:
    # As objects: a run without a seed must not turn the seeds of the others into floats.
    return pd.DataFrame(lines, columns=None if lines else KEYS, dtype=object)


Outcome = tuple[str, Metrics]  # what became of a run, see :func:`status`; empty unless it is done


def _outcome(run: Run, split: str, earlier: Mapping[str, Metrics]) -> Outcome:
    state = status(run, split)
    if state == DONE:
        return state, json.loads(run.metrics(split).read_text())
    return (DONE, earlier[run.id]) if run.id in earlier else (state, {})


def _lines(row: Row, ablation: Ablation, found: Mapping[str, Outcome]) -> Iterator[dict[str, Any]]:
    """The lines of a row in ``results.csv``."""
    missing = {"split": ablation.split, "kind": ablation.kind, "metric": "AP", "value": None}
    if row.absent is not None:
        yield {"row": row.id, "run": None, "status": f"{ABSENT}: {row.absent}", **missing}
    for run in row.runs:
        state, content = found[run.id]
        known = missing | {"row": row.id, "run": run.id, **run.summary, "status": state}
        if state != DONE:
            yield known
        for kind, values in content.get("metrics", {}).items():
            for name, value in values.items():
                yield known | {"kind": kind, "metric": name, "value": value}


def _replicates(row: Row, found: Mapping[str, Outcome]) -> Iterator[dict[str, Any]]:
    """The lines of a row in ``bootstrap.csv``; none of a run evaluated without a bootstrap."""
    for run in row.runs:
        for kind, values in found[run.id][1].get("bootstrap", {}).items():
            known = {"row": row.id, "run": run.id, "seed": run.seed_or_none}
            # A millionth is far below what 200 replicates can tell.
            rounded = (None if value is None else round(value, 6) for value in values)
            yield known | {"kind": kind} | dict(enumerate(rounded))


def status(run: Run, split: str = TEST) -> str:
    """``done``, ``not run`` or ``failed``, the last two with the reason if it is known."""
    error = failure(run.folder, split)
    if error is not None:
        return f"{FAILED}: {error}"
    if run.metrics(split).exists():
        return DONE
    if (teacher := run.sources_by_role.get("teacher")) and failure(
        teacher.folder, TEST
    ) is not None:
        return f"{NOT_RUN}: its teacher failed"
    return NOT_RUN


def split_status(text: str) -> tuple[str, str]:
    """State and reason, which may be empty."""
    state, _, reason = text.partition(": ")
    return state, reason


@dataclass(frozen=True)
class Results:
    """The raw numbers of an ablation: the frames of ``results.csv`` and ``bootstrap.csv``."""

    lines: pd.DataFrame
    bootstrap: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=KEYS))

    def values(self, row: Row, metric: str, kind: str) -> dict[int | None, float]:
        """A metric in percent by seed, of the runs that have it."""
        found = ((_seed(run), self._values.get((run.id, kind, metric))) for run in row.runs)
        return {seed: 100 * value for seed, value in found if value is not None}

    def replicates(self, row: Row, kind: str) -> dict[int | None, NDArray[np.float64]]:
        """AP in percent under resamplings of the images by seed, each (B,)."""
        found = ((_seed(run), self._replicates.get((run.id, kind))) for run in row.runs)
        return {seed: 100 * values for seed, values in found if values is not None}

    def bootstrapped(self, run: str, kind: str) -> NDArray[np.float64] | None:
        """AP (B,) of a run, by its id, under resamplings of the images; no percentages."""
        return self._replicates.get((run, kind))

    def status(self, run: Run) -> str:
        """What became of a run; one that the file does not know was not run."""
        return self._status.get(run.id, NOT_RUN)

    @cached_property
    def _values(self) -> dict[tuple[str, str, str], float]:
        known = self.lines.dropna(subset="value")
        keys = zip(known.run, known.kind, known.metric, strict=True)
        return dict(zip(keys, known.value.astype(float), strict=True))

    @cached_property
    def _status(self) -> dict[str, str]:
        return dict(zip(self.lines.run, self.lines.status, strict=True))

    @cached_property
    def _replicates(self) -> dict[tuple[str, str], NDArray[np.float64]]:
        values = self.bootstrap.drop(columns=KEYS).to_numpy(float)
        keys = zip(self.bootstrap.run, self.bootstrap.kind, strict=True)
        return dict(zip(keys, values, strict=True))


def _seed(run: Run) -> int | None:
    return run.seed_or_none


def read_results(folder: Path) -> Results:
    """What :func:`write_results` wrote into a folder.

    Raises:
        InputError: it is not there.
    """
    for file in (folder / LINES, folder / BOOTSTRAP):
        if not file.is_file():
            raise InputError(file, "", "does not exist", "what icd collect writes")
    exact = {"float_precision": "round_trip"}  # pandas 2 loses the last bit otherwise
    return Results(pd.read_csv(folder / LINES, **exact), pd.read_csv(folder / BOOTSTRAP, **exact))


def states(ablation: Ablation) -> Counter[str]:
    """How many runs of an ablation's rows are done, failed or not run; with failed sources."""
    measured = Counter(split_status(status(run, ablation.split))[0] for run in ablation.measured)
    own = {run.id for run in ablation.measured}
    sources = [run for run in ablation.runs if run.id not in own]
    return measured + Counter(FAILED for run in sources if failure(run.folder, TEST) is not None)


def tabulated(results: Path, split: str = TEST) -> dict[str, Metrics]:
    """Metrics by run, as its own file has them, from the tables in a track's folder of results."""
    found: dict[str, Metrics] = {}
    for file in sorted(results.glob(f"*/{LINES}")):
        table = read_results(file.parent)
        done = table.lines[table.lines.status == DONE]
        if set(done["split"]) - {split}:
            continue
        for (run, kind), lines in done.groupby(["run", "kind"]):
            values = lines.value.astype(object).where(lines.value.notna(), None)
            metrics = dict(zip(lines.metric, values, strict=True))
            content = found.setdefault(run, {"metrics": {}, "bootstrap": {}})
            content["metrics"][kind] = metrics
            if (replicates := table.bootstrapped(run, kind)) is not None:
                content["bootstrap"][kind] = [None if isnan(x) else x for x in replicates.tolist()]
    return found
