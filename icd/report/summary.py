"""A table as numbers: means, intervals and the state of each run, before any formatting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from icd.experiments.ablation import Ablation, Row
from icd.experiments.run import Cost, Run, StepKey
from icd.report.breakdown import losers
from icd.report.deployment import Deployment
from icd.report.diagnosis import DecoderDiagnosis, decoder_diagnosis
from icd.report.earlier import as_planned
from icd.report.intervals import Estimate
from icd.report.results import ABSENT, DONE, FAILED, NOT_RUN, Results, split_status
from icd.report.statistics import Agreement, Sample, agreement, difference, level

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


@dataclass(frozen=True)
class Entry:
    """A row with its numbers, in percent.

    metrics: values by name, one per finished seed that has them.
    state: done if any run is done; else failed, not run or absent.
    done: number of finished runs.
    gain, difference: over the row's baseline and to its reference; None without a common seed, and
        for the baseline and the reference themselves.
    cost: of its method; None if it was not measured.
    decoder: what its decoder does; None if it has none or the table does not show it.
    deployment: of one of its detectors; None if it was not measured or the table does not show it.
    """

    row: Row
    baseline: Row
    reference: Row | None
    metrics: dict[str, list[float]]
    state: str
    done: int
    sample: Sample
    gain: Estimate | None
    difference: Estimate | None
    cost: Cost | None = None
    decoder: DecoderDiagnosis | None = None
    deployment: Deployment | None = None

    @property
    def is_baseline(self) -> bool:
        return self.row.id == self.baseline.id

    @cached_property
    def level(self) -> Estimate | None:
        """AP with its interval."""
        return level(self.sample)

    @property
    def published(self) -> float | None:
        return self.row.published.AP if self.row.published else None

    @property
    def is_comparable(self) -> bool:
        """True if there is a published AP with the recipe of the other rows."""
        return self.row.published is not None and self.row.published.comparable is None

    @property
    def published_gain(self) -> float | None:
        """The published gain over the source's own student, or over the paper's baseline."""
        if self.row.published and self.row.published.over is not None:
            return self.row.published.AP - self.row.published.over
        return self._published_over(self.baseline)

    @property
    def published_difference(self) -> float | None:
        """The paper's difference to the paper's value of the reference."""
        return self._published_over(self.reference)

    def _published_over(self, other: Row | None) -> float | None:
        if other is None or other == self.row or not (self.row.published and other.published):
            return None
        if not self.is_comparable:  # the difference would be that of the recipes
            return None
        return self.row.published.AP - other.published.AP


class Missing(NamedTuple):
    """A run without numbers, or a row that the track cannot have (then without a run)."""

    state: str
    row: Row
    run: Run | None
    reason: str


@dataclass(frozen=True)
class Summary:
    """All that tables and figures show of an ablation.

    order, order_distilled: agreement of our order with the published one, over all rows and over
        the rows that are not baselines; None for fewer than three rows.
    lost: classes that lose significantly against the row's baseline, with their differences, by
        row; None if no run was evaluated by class.
    earlier: measured with an earlier version of the runs.
    """

    ablation: Ablation
    entries: list[Entry]
    missing: list[Missing]
    order: Agreement | None
    order_distilled: Agreement | None
    lost: dict[str, list[tuple[str, float]]] | None = None
    earlier: bool = False

    def entry(self, name: str) -> Entry:
        """The row of this id with its numbers."""
        return next(entry for entry in self.entries if entry.row.id == name)

    @property
    def is_diagnosed(self) -> bool:
        """True if the table shows decoders and any was measured."""
        return any(entry.decoder is not None for entry in self.entries)

    @property
    def is_deployed(self) -> bool:
        """True if the table shows how large and fast detectors are, and any was measured."""
        return any(entry.deployment is not None for entry in self.entries)

    @property
    def over(self) -> str:
        """The baseline of gains in words, e.g. ``over Student``."""
        return _whose("over", [entry.baseline for entry in self.entries], "its baseline")

    @property
    def to(self) -> str:
        """The reference of differences in words, e.g. ``to ICD``."""
        return _whose("to", self.ablation.references, "its reference")

    @property
    def intervals(self) -> list[tuple[Entry, Estimate]]:
        """Every gain or difference that the table shows, with its row."""
        return [
            (entry, estimate)
            for entry in self.entries
            for estimate in (entry.gain, entry.difference)
            if estimate
        ]


def _whose(word: str, rows: Iterable[Row], several: str) -> str:
    labels = {row.label for row in rows}
    return f"{word} {labels.pop() if len(labels) == 1 else several}"


def summarise(
    ablation: Ablation, results: Results, costs: Mapping[StepKey, Cost] | None = None
) -> Summary:
    """Compute what a table shows from the raw numbers."""
    results = as_planned(ablation, results)
    samples = {row.id: sample(row, results, ablation.iou_type) for row in ablation.rows}
    entries = [_entry(ablation, row, samples, results, costs or {}) for row in ablation.rows]
    distilled = [entry for entry in entries if not entry.is_baseline]
    orders = _agreement(entries), _agreement(distilled)
    classes = results.parts.get("class")
    lost = None if classes is None or classes["gain"].isna().all() else losers(classes)
    return Summary(ablation, entries, _missing(ablation, results), *orders, lost, results.earlier)


def _agreement(entries: Iterable[Entry]) -> Agreement | None:
    """Over the rows that have both values, if the published value has the recipe of the others."""
    both = [entry for entry in entries if entry.sample.values and entry.is_comparable]
    published = [entry.published for entry in both if entry.published is not None]
    return agreement([entry.sample for entry in both], published)


def sample(row: Row, results: Results, iou_type: str) -> Sample:
    """AP of a row and its replicates, by seed."""
    values, replicates = results.values(row, "AP", iou_type), results.replicates(row, iou_type)
    return Sample(values, replicates, single=len(row.runs) == 1)


def _entry(
    ablation: Ablation,
    row: Row,
    samples: dict[str, Sample],
    results: Results,
    costs: Mapping[StepKey, Cost],
) -> Entry:
    baseline, own = ablation.baseline_of(row), samples[row.id]
    reference = ablation.reference_of(row)
    states = Counter(split_status(results.status(run))[0] for run in row.runs)
    state = next((s for s in (DONE, FAILED, NOT_RUN) if states[s]), ABSENT)

    def compared(other: Row | None) -> Estimate | None:
        return difference(own, samples[other.id]) if other and other.id != row.id else None

    return Entry(
        row=row,
        baseline=baseline,
        reference=reference,
        metrics={
            metric: list(results.values(row, metric, ablation.iou_type).values())
            for metric in METRICS
        },
        state=state,
        done=states[DONE],
        sample=own,
        gain=compared(baseline),
        difference=compared(reference),
        cost=costs.get(row.runs[0].step_key) if row.runs else None,
        decoder=decoder_diagnosis(results.diagnosis, row) if ablation.diagnosis else None,
        deployment=_deployment(row, results) if ablation.deployment else None,
    )


def _deployment(row: Row, results: Results) -> Deployment | None:
    """That of any run of a row: seeds change neither size nor speed."""
    known = (results.deployments.get(run.id) for run in row.runs)
    return next((one for one in known if one), None)


def _missing(ablation: Ablation, results: Results) -> list[Missing]:
    missing: list[Missing] = []
    for row in ablation.rows:
        if row.absent is not None:
            missing.append(Missing(ABSENT, row, None, row.absent))
        for run in row.runs:
            state, reason = split_status(results.status(run))
            if state != DONE:
                missing.append(Missing(state, row, run, reason))
    return missing
