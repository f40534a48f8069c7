"""Gains of a table's rows by class and by object size."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from icd.experiments.ablation import Ablation
from icd.report.breakdown import significant
from icd.report.results import Results


@dataclass(frozen=True)
class Part:
    """A class or a size of a row, in percent; None where nothing was measured."""

    name: str
    seeds: int
    AP: float
    gain: float | None
    low: float | None
    high: float | None
    p: float | None
    significant: bool


Parts = dict[str, list[Part]]  # by row


def parts(results: Results, ablation: Ablation) -> dict[str, Parts]:
    """The gains of the rows by kind of part (``class``, ``size``), in the order of the files.

    Whether a gain is significant includes Holm's correction over the parts of its row.
    """
    known = {row.id for row in ablation.rows}
    found: dict[str, Parts] = {}
    for kind, frame in results.parts.items():
        frame = frame[frame["row"].isin(known)].assign(significant=significant(frame))
        rows = {str(row): _parts(own, kind) for row, own in frame.groupby("row", sort=False)}
        if rows:
            found[kind] = rows
    return found


def _parts(frame: pd.DataFrame, kind: str) -> list[Part]:
    names = ["AP", "gain", "gain_low", "gain_high", "gain_p"]
    values = frame[names].astype(float).round(4)
    numbers = values.astype(object).where(values.notna(), None).to_numpy().tolist()
    return [
        Part(
            name=str(name),
            seeds=int(seeds),
            AP=ap,
            gain=gain,
            low=low,
            high=high,
            p=p,
            significant=bool(chosen),
        )
        for name, seeds, chosen, (ap, gain, low, high, p) in zip(
            frame[kind], frame["seeds"], frame["significant"], numbers, strict=True
        )
    ]
