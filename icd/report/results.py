"""Raw numbers of an ablation in tidy tables: one record per row, seed and metric."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from icd.data.contents import CHANGED
from icd.errors import InputError
from icd.experiments.ablation import Ablation, Row
from icd.experiments.data_versions import Version, is_of
from icd.experiments.run import Run
from icd.experiments.sources import (
    known_inputs,
    require_same_data,
    require_same_weights,
    short,
)
from icd.experiments.splits import TEST
from icd.files import read_json, write_csv
from icd.process.failures import failure
from icd.report.breakdown import PARTS, breakdown
from icd.report.deployment import FOLDER as DEPLOYMENT
from icd.report.deployment import Deployment, read_deployments
from icd.report.diagnosis import COLUMNS, DIAGNOSIS_CSV, diagnoses

Metrics = dict[str, Any]  # the content of a run's metrics.json
Record = dict[str, Any]  # a line of a CSV file by column
Outcome = tuple[str, Metrics]  # what became of a run, see :func:`status`; no metrics unless done

AP_NAMES = {"bbox": "AP", "segm": "Mask AP"}  # by IoU type
DONE, NOT_RUN, FAILED, ABSENT = "done", "not run", "failed", "absent"
# Columns of results.csv: sha256 of the annotations that a run was trained and measured on, and of
# the contents of the images that it was measured on. Results of earlier versions lack them.
TRAINED_ON, MEASURED_ON, CONTENTS = "trained_on_sha256", "annotations_sha256", "contents_sha256"
IMAGES = "images_sha256"  # in a run's metrics: of the names and sizes of the images
HASHES = [MEASURED_ON, CONTENTS, TRAINED_ON]
LAST = ["split", "annotations", *HASHES, "status", "iou_type", "metric", "value"]
RESULTS_CSV, BOOTSTRAP_CSV = "results.csv", "bootstrap.csv"
KEYS = ["row", "run", "seed", "iou_type"]  # of bootstrap.csv; its other columns are replicates


def write_results(
    ablation: Ablation, folder: Path, earlier: Mapping[str, Metrics] | None = None
) -> None:
    """Gather what the runs of an ablation have left behind.

    Writes ``results.csv`` (metrics unrounded; a run without metrics has one record with a status
    and without a value), ``bootstrap.csv`` (AP under resampled images, one record per run and IoU
    type), ``per_class.csv`` and ``per_size.csv`` (see :mod:`icd.report.breakdown`), and
    ``diagnosis.csv`` (see :mod:`icd.report.diagnosis`).

    Args:
        ablation: the table.
        folder: of its results.
        earlier: metrics of runs that need not have been trained here, see :func:`tabulated`.

    Raises:
        InputError: the runs have not come from the same weights.
    """
    outcomes = {run.id: _outcome(run, ablation.split, earlier or {}) for run in ablation.measured}
    done = {run: content for run, (state, content) in outcomes.items() if state == DONE}
    inputs = known_inputs(folder.parent / "manifests", done)
    require_same_weights(inputs)
    require_same_data(inputs)
    _require_measured_on_the_same(done, ablation)
    trained = {run: hashes.get("annotations") for run, (_, hashes) in inputs.items()}
    records = _frame(
        [one for row in ablation.rows for one in _records(row, ablation, outcomes, trained)]
    )
    records = records[[*records.columns.drop(LAST), *LAST]]
    replicates = _frame([one for row in ablation.rows for one in _replicates(row, outcomes)])
    write_csv(folder / RESULTS_CSV, records)
    write_csv(folder / BOOTSTRAP_CSV, replicates)
    metrics = {run: content for run, (_, content) in outcomes.items()}
    for kind, name in PARTS.items():
        write_csv(folder / name, breakdown(ablation, metrics, kind))
    write_csv(folder / DIAGNOSIS_CSV, diagnoses(ablation, folder.parent / "manifests"))


def _frame(records: list[Record]) -> pd.DataFrame:
    # As objects: a run without a seed must not turn the seeds of the others into floats.
    return pd.DataFrame(records, columns=None if records else KEYS, dtype=object)


def _require_measured_on_the_same(done: Mapping[str, Metrics], ablation: Ablation) -> None:
    """Raise InputError if runs were measured on different versions of the split.

    Older results do not record it, so nothing is known about their runs.
    """
    for key in (MEASURED_ON, IMAGES, CONTENTS):
        known = {run: content[key] for run, content in done.items() if key in content}
        first = next(iter(known), "")
        for run, digits in known.items():
            if digits != known[first]:
                problem = f"was measured on {short(digits)}, but {first} on {short(known[first])}"
                expected = (
                    f"the same data of the split {ablation.split} for runs that are compared:"
                    " `snakemake --forcerun evaluate evaluate_split` measures all on the present"
                )
                raise InputError(run, key, problem, expected)


def _outcome(run: Run, split: str, earlier: Mapping[str, Metrics]) -> Outcome:
    state = status(run, split)
    if state == DONE:
        return state, read_json(run.metrics(split), "what icd evaluate writes")
    return (DONE, earlier[run.id]) if run.id in earlier else (state, {})


def _records(
    row: Row,
    ablation: Ablation,
    outcomes: Mapping[str, Outcome],
    trained: Mapping[str, str | None],
) -> Iterator[Record]:
    """The records of a row in ``results.csv``; ``trained``: see the column TRAINED_ON."""
    missing: Record = {"split": ablation.split, "iou_type": ablation.iou_type, "metric": "AP"}
    missing |= {"value": None, **dict.fromkeys(HASHES)}
    if row.absent is not None:
        absent = {"status": f"{ABSENT}: {row.absent}", "annotations": None}
        yield {"row": row.id, "run": None, **absent, **missing}
    for run in row.runs:
        state, content = outcomes[run.id]
        images = run.files_of(ablation.split).annotations
        known = missing | {"row": row.id, "run": run.id, **run.summary}
        known |= {"annotations": images, "status": state}
        known |= {key: content.get(key) for key in (MEASURED_ON, CONTENTS)}
        known |= {TRAINED_ON: trained.get(run.id) or content.get(TRAINED_ON)}
        if state != DONE:
            yield known
        for iou_type, values in content.get("metrics", {}).items():
            for name, value in values.items():
                yield known | {"iou_type": iou_type, "metric": name, "value": value}


def _replicates(row: Row, outcomes: Mapping[str, Outcome]) -> Iterator[Record]:
    """The records of a row in ``bootstrap.csv``; none of a run evaluated without a bootstrap."""
    for run in row.runs:
        for iou_type, values in outcomes[run.id][1].get("bootstrap", {}).items():
            known = {"row": row.id, "run": run.id, "seed": run.training_seed}
            known |= {"iou_type": iou_type}
            # A millionth is far below what 200 replicates can tell.
            rounded = (None if value is None else round(value, 6) for value in values)
            yield known | {str(i): value for i, value in enumerate(rounded)}


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
    """The raw numbers of an ablation.

    records, bootstrap: the content of ``results.csv`` and ``bootstrap.csv``.
    parts: those of ``per_class.csv`` and ``per_size.csv``, by kind of part; without a kind if its
        file does not exist, because the table was collected by an earlier version.
    earlier: measured with an earlier version of the runs, see :mod:`icd.report.earlier`.
    diagnosis: that of ``diagnosis.csv``; empty if it does not exist.
    deployments: of the runs of the track for which it was measured, by id.
    """

    records: pd.DataFrame
    bootstrap: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=KEYS))
    parts: dict[str, pd.DataFrame] = field(default_factory=dict)
    earlier: bool = False
    diagnosis: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=COLUMNS))
    deployments: dict[str, Deployment] = field(default_factory=dict)

    def values(self, row: Row, metric: str, iou_type: str) -> dict[int | None, float]:
        """A metric in percent by seed, of the runs that have it."""
        known = ((_seed(run), self._values.get((run.id, iou_type, metric))) for run in row.runs)
        return {seed: 100 * value for seed, value in known if value is not None}

    def replicates(self, row: Row, iou_type: str) -> dict[int | None, NDArray[np.float64]]:
        """AP in percent under resamplings of the images by seed, each (B,)."""
        known = ((_seed(run), self._replicates.get((run.id, iou_type))) for run in row.runs)
        return {seed: 100 * values for seed, values in known if values is not None}

    def bootstrapped(self, run: str, iou_type: str) -> NDArray[np.float64] | None:
        """AP (B,) of a run, by its id, under resamplings of the images, as fractions."""
        return self._replicates.get((run, iou_type))

    def status(self, run: Run) -> str:
        """What became of a run; one that the file does not know was not run."""
        return self._status.get(run.id, NOT_RUN)

    @cached_property
    def _values(self) -> dict[tuple[str, str, str], float]:
        known = self.records.dropna(subset="value")
        keys = zip(known["run"], known["iou_type"], known["metric"], strict=True)
        return dict(zip(keys, known["value"].astype(float), strict=True))

    @cached_property
    def _status(self) -> dict[str, str]:
        return dict(zip(self.records["run"], self.records["status"], strict=True))

    @cached_property
    def _replicates(self) -> dict[tuple[str, str], NDArray[np.float64]]:
        values = self.bootstrap.drop(columns=KEYS).to_numpy(float)
        keys = zip(self.bootstrap["run"], self.bootstrap["iou_type"], strict=True)
        return dict(zip(keys, values, strict=True))


def _seed(run: Run) -> int | None:
    return run.training_seed


def read_results(folder: Path) -> Results:
    """What :func:`write_results` wrote into a folder.

    Raises:
        InputError: it is not there.
    """
    for file in (folder / RESULTS_CSV, folder / BOOTSTRAP_CSV):
        if not file.is_file():
            raise InputError(file, "", "does not exist", "what icd collect writes")
    parts = {
        kind: _read_csv(folder / name) for kind, name in PARTS.items() if (folder / name).is_file()
    }
    results = Results(
        _read_csv(folder / RESULTS_CSV),
        _read_csv(folder / BOOTSTRAP_CSV),
        parts,
        deployments=read_deployments(folder.parent / DEPLOYMENT),
    )
    diagnosis = folder / DIAGNOSIS_CSV
    return replace(results, diagnosis=_read_csv(diagnosis)) if diagnosis.is_file() else results


def _read_csv(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, float_precision="round_trip")  # pandas 2 loses the last bit otherwise


def states(ablation: Ablation) -> Counter[str]:
    """How many runs of an ablation's rows are done, failed or not run; with failed sources."""
    measured = Counter(split_status(status(run, ablation.split))[0] for run in ablation.measured)
    own = {run.id for run in ablation.measured}
    sources = [run for run in ablation.runs if run.id not in own]
    return measured + Counter(FAILED for run in sources if failure(run.folder, TEST) is not None)


def _may_be_of(present: Version, record: Record) -> bool:
    """True unless a record of results.csv says that it is of other data."""
    annotations, contents = (_text(record.get(column)) for column in (MEASURED_ON, CONTENTS))
    known = Version(annotations or present.annotations, contents)
    return is_of(known, present, (None, CHANGED))


def _text(value: object) -> str | None:
    """A cell of a table as text; None for a missing one, which pandas reads as NaN."""
    return value if isinstance(value, str) else None


def tabulated(
    results: Path, split: str, annotations: str, present: Version | None = None
) -> dict[str, Metrics]:
    """Metrics by run, as its own file has them, from the tables in a track's folder of results.

    Args:
        results: the folder.
        split: on which they were measured.
        annotations: its annotation file, relative to the root of the data. Numbers of another test
            set under the same name are left out.
        present: version of the data, if that file exists. Numbers of another version are left out;
            those of tables that do not record it are taken.
    """
    metrics: dict[str, Metrics] = {}
    for file in sorted(results.glob(f"*/{RESULTS_CSV}")):
        table = read_results(file.parent)
        done = table.records[table.records["status"] == DONE]
        if set(done["split"]) - {split} or "annotations" not in done:
            continue
        done = done[done["annotations"] == annotations]
        if present:
            done = done[[_may_be_of(present, record) for record in done.to_dict("records")]]
        for (run, iou_type), part in done.groupby(["run", "iou_type"]):
            values = part["value"].astype(object).where(part["value"].notna(), None)
            content = metrics.setdefault(run, {"metrics": {}, "bootstrap": {}})
            for column in HASHES:
                if column in part and part[column].notna().all():
                    content[column] = part[column].iloc[0]
            content["metrics"][iou_type] = dict(zip(part["metric"], values, strict=True))
            if (replicates := table.bootstrapped(run, iou_type)) is not None:
                content["bootstrap"][iou_type] = [
                    None if isnan(value) else value for value in replicates.tolist()
                ]
    return metrics
