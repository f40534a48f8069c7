"""The tables of a track that exist, each read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from icd.experiments.ablation import Ablation, main_first
from icd.experiments.run import Cost, StepKey
from icd.experiments.track import Track
from icd.files import read_json
from icd.report.results import (
    BOOTSTRAP_CSV,
    CONTENTS,
    MEASURED_ON,
    RESULTS_CSV,
    Results,
    read_results,
)
from icd.report.summary import Summary, summarise


@dataclass(frozen=True)
class Table:
    """An ablation with its raw numbers.

    folder: of its results.
    costs: of the steps of its runs, as far as they were measured.
    """

    ablation: Ablation
    results: Results
    folder: Path
    costs: Mapping[StepKey, Cost] = field(default_factory=dict)

    @cached_property
    def summary(self) -> Summary:
        """What the table shows."""
        return summarise(self.ablation, self.results, self.costs)


@dataclass(frozen=True)
class Tables:
    """The tables of a track that exist.

    shown: the main table first, the others by name.
    outdated: names of those that were measured on other annotations than the survey's.
    """

    shown: list[Table]
    outdated: list[str]


def existing(
    track: Track, ablations: Sequence[Ablation], costs: Mapping[StepKey, Cost] | None = None
) -> Tables:
    """The tables that lie beside their raw numbers in the track's results."""
    found = [
        Table(ablation, read_results(folder), folder, costs or {})
        for ablation in main_first(ablations)
        if _is_complete(folder := track.results / ablation.name)
    ]
    outdated = [table.ablation.name for table in found if _is_outdated(track, table)]
    return Tables([table for table in found if table.ablation.name not in outdated], outdated)


def _is_complete(folder: Path) -> bool:
    """True for a table beside its raw numbers."""
    return all((folder / name).is_file() for name in ("table.md", RESULTS_CSV, BOOTSTRAP_CSV))


def _is_outdated(track: Track, table: Table) -> bool:
    """True if a table records other data of its split than the survey of the data."""
    survey, records = track.results / "data.json", table.results.records
    if not survey.is_file():
        return False
    splits = read_json(survey, "what icd check writes").get("splits", {})
    known = splits.get(table.ablation.split, {})
    columns = {MEASURED_ON: "sha256", CONTENTS: "contents_sha256"}
    return any(
        column in records and key in known and set(records[column].dropna()) - {known[key]}
        for column, key in columns.items()
    )
