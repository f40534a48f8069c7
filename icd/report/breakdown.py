"""AP of a table's rows by class and by object size, with paired gains and their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from icd.experiments.ablation import Ablation, Row
from icd.report.statistics import Sample, difference, holm

PARTS = {"class": "per_class.csv", "size": "per_size.csv"}  # file by kind of part
VALUES = ["seeds", "AP", "gain", "gain_low", "gain_high", "gain_p", "gain_images"]
Metrics = Mapping[str, Any]  # the content of a run's metrics.json


def breakdown(ablation: Ablation, metrics: Mapping[str, Metrics], kind: str) -> pd.DataFrame:
    """One record per row and part, in percent and unrounded.

    Gains are over the row's baseline, paired by seed and resample like those of the table. Parts
    without an object, and rows whose runs were evaluated without parts, are left out.

    Args:
        metrics: by run.
        kind: a key of :data:`PARTS`.
    """
    samples = {row.id: _samples(row, ablation.iou_type, metrics, kind) for row in ablation.rows}
    records = [
        {"row": row.id, "iou_type": ablation.iou_type, kind: name, **values}
        for row in ablation.rows
        for name, values in _records(samples[row.id], samples[ablation.baseline_of(row).id])
    ]
    return pd.DataFrame(records, columns=["row", "iou_type", kind, *VALUES], dtype=object)


def _samples(
    row: Row, iou_type: str, metrics: Mapping[str, Metrics], kind: str
) -> dict[str, Sample]:
    """AP of each part over the seeds of a row."""
    samples: dict[str, Sample] = {}
    for run in row.runs:
        parts = metrics[run.id].get("parts", {}).get(iou_type, {}).get(kind, {})
        for name, part in parts.items():
            if part["AP"] is None:
                continue
            sample = samples.setdefault(name, Sample({}, {}, single=len(row.runs) == 1))
            sample.values[run.training_seed] = 100 * part["AP"]
            sample.replicates[run.training_seed] = 100 * np.array(part["bootstrap"], dtype=float)
    return samples


def _records(
    own: dict[str, Sample], baseline: dict[str, Sample]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, sample in own.items():
        same = own is baseline or name not in baseline
        gain = None if same else difference(sample, baseline[name])
        low, high = (gain and gain.interval) or (None, None)
        yield (
            name,
            {
                "seeds": len(sample.values),
                "AP": float(np.mean(list(sample.values.values()))),
                "gain": gain and gain.mean,
                "gain_low": low,
                "gain_high": high,
                "gain_p": gain and gain.p,
                "gain_images": gain and gain.images,
            },
        )


def significant(frame: pd.DataFrame) -> pd.Series:
    """Which gains are significant, with Holm's correction over the parts of each row."""
    chosen = pd.Series(False, index=frame.index)
    for _, part in frame.groupby("row", sort=False):
        values = [None if pd.isna(p) else float(p) for p in part["gain_p"]]
        chosen[part.index] = holm(values)
    return chosen


def losers(frame: pd.DataFrame) -> dict[str, list[tuple[str, float]]]:
    """Parts that lose significantly and how much, by row; of a frame with gains."""
    lost = frame[significant(frame) & (frame["gain"].fillna(0).astype(float) < 0)]
    names = frame.columns[2]
    return {
        str(row): [(str(one[names]), float(one["gain"])) for _, one in part.iterrows()]
        for row, part in lost.groupby("row", sort=False)
    }
