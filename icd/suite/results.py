"""Raw numbers of an ablation in one tidy table: one line per row, seed and metric."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from icd.files import atomic
from icd.suite.ablation import Ablation

KINDS = {"bbox": "", "segm": "Mask "}  # what stands before AP


def write_results(ablation: Ablation, output: Path) -> None:
    """Read the metrics of all runs of an ablation and write them unrounded as CSV."""
    lines = []
    for row in ablation.rows:
        for run in row.runs:
            metrics = json.loads((run.folder / "metrics.json").read_text())["metrics"]
            lines += [
                {"row": row.id, "run": run.id, **run.summary, "kind": kind, "metric": name}
                | {"value": value}
                for kind, values in metrics.items()
                for name, value in values.items()
            ]
    with atomic(output) as temporary:
        # As objects: a run without a seed must not turn the seeds of the others into floats.
        pd.DataFrame(lines, dtype=object).to_csv(temporary, index=False)


def read_results(file: Path) -> pd.DataFrame:
    """The table that :func:`write_results` wrote."""
    return pd.read_csv(file)


def per_seed(results: pd.DataFrame, metric: str, kind: str = "bbox") -> dict[str, list[float]]:
    """Values of a metric in percent by row, one per seed, in the order of the file."""
    chosen = results[(results.metric == metric) & (results.kind == kind)]
    return {
        str(row): (100 * group.value).tolist() for row, group in chosen.groupby("row", sort=False)
    }
