"""Tables that were measured with an earlier version of their runs.

A change of what runs compute renames them. The numbers of a table that was collected before still
belong to its rows and seeds, and its notes say so. Collecting it again uses today's runs alone.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from icd.experiments.ablation import Ablation
from icd.report.results import Results


def as_planned(ablation: Ablation, results: Results) -> Results:
    """The numbers of a table under the ids that its runs have today, by row and seed.

    Results of earlier versions are marked as such.
    """
    planned = {run.id for row in ablation.rows for run in row.runs}
    if set(results.records["run"].dropna()) <= planned:
        return results
    today = {(row.id, run.training_seed): run.id for row in ablation.rows for run in row.runs}
    return replace(
        results,
        records=_renamed(results.records, today),
        bootstrap=_renamed(results.bootstrap, today),
        earlier=True,
    )


def _renamed(frame: pd.DataFrame, today: dict[tuple[str, int | None], str]) -> pd.DataFrame:
    """Records with the ids of ``today``; those of rows and seeds that are gone keep theirs."""
    seeds = [None if pd.isna(seed) else int(seed) for seed in frame["seed"]]
    keys = zip(frame["row"], seeds, frame["run"], strict=True)
    return frame.assign(run=[today.get((row, seed), run) for row, seed, run in keys])
