"""A table as numbers: means, intervals and what became of each run, before any formatting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from icd.experiments.ablation import Ablation, Row
from icd.experiments.run import Cost, Run, StepKey
from icd.report.results import ABSENT, DONE, FAILED, NOT_RUN, Results, split_status
from icd.report.statistics import Agreement, Estimate, Sample, agreement, difference, level

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


@dataclass(frozen=True)
class Line:
    """A row with its numbers, in percent.

    metrics: values by name, one per finished seed that has them.
    state: done if a run is; else failed, not run or absent.
    gain, difference: to the row's baseline and its reference; None without a common seed, and for
        the baseline and the reference themselves.
    cost: of its method; None if it was not measured.
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

    @property
    def is_baseline(self) -> bool:
        return self.row.id == self.baseline.id

    @cached_property
    def level(self) -> Estimate | None:
        """AP with its interval."""
        return level(self.sample)

    @property
    def published(self) -> float | None:
        return self.row.published["AP"] if self.row.published else None

    @property
    def is_comparable(self) -> bool:
        """True if there is a published AP with the recipe of the other rows."""
        return self.row.published is not None and self.row.published.get("comparable", True)

    @property
    def published_gain(self) -> float | None:
        """The paper's gain over the paper's baseline."""
        return self._published_over(self.baseline)

    @property
    def published_difference(self) -> float | None:
        """The paper's difference to the paper's value of the reference."""
        return self._published_over(self.reference)

    def _published_over(self, other: Row | None) -> float | None:
        if other in (None, self.row) or not (self.row.published and other.published):
            return None
        return self.row.published["AP"] - other.published["AP"]


@dataclass(frozen=True)
class Summary:
    """All that tables and figures show of an ablation.

    missing: (state, row, run or None if absent, reason) of what has no numbers.
    order: of the rows beside the published one; of all, and of those that are no baseline. None if
        there are fewer than three.
    """

    ablation: Ablation
    lines: list[Line]
    missing: list[tuple[str, Row, Run | None, str]]
    order: Agreement | None
    order_distilled: Agreement | None

    def line(self, name: str) -> Line:
        """The line of the row with this id."""
        return next(line for line in self.lines if line.row.id == name)

    @property
    def over(self) -> str:
        """What gains are measured against, e.g. ``over Student``."""
        return _whose("over", [line.baseline for line in self.lines], "its baseline")

    @property
    def to(self) -> str:
        """What rows are compared with besides."""
        return _whose("to", self.ablation.references, "its reference")

    @property
    def intervals(self) -> list[tuple[Line, Estimate]]:
        """Every gain or difference that is shown, with its line."""
        return [
            (line, found) for line in self.lines for found in (line.gain, line.difference) if found
        ]


def _whose(word: str, rows: Iterable[Row], several: str) -> str:
    labels = {row.label for row in rows}
    return f"{word} {labels.pop() if len(labels) == 1 else several}"


def summarise(
    ablation: Ablation, results: Results, costs: Mapping[StepKey, Cost] | None = None
) -> Summary:
    """Compute what a table says from the raw numbers."""
    samples = {row.id: sample(row, results, ablation.kind) for row in ablation.rows}
    lines = [_line(ablation, row, samples, results, costs or {}) for row in ablation.rows]
    distilled = [line for line in lines if not line.is_baseline]
    orders = _agreement(lines), _agreement(distilled)
    return Summary(ablation, lines, _missing(ablation, results), *orders)


def _agreement(lines: Iterable[Line]) -> Agreement | None:
    """Of the rows that have both values, where the published one has the recipe of the others."""
    both = [line for line in lines if line.sample.values and line.is_comparable]
    return agreement([line.sample for line in both], [line.published for line in both])


def sample(row: Row, results: Results, kind: str) -> Sample:
    """AP of a row and its replicates, by seed."""
    return Sample(
        results.values(row, "AP", kind), results.replicates(row, kind), single=len(row.runs) == 1
    )


def _line(
    ablation: Ablation,
    row: Row,
    samples: dict[str, Sample],
    results: Results,
    costs: Mapping[StepKey, Cost],
) -> Line:
    baseline, own = ablation.baseline_of(row), samples[row.id]
    reference = ablation.reference_of(row)
    states = Counter(split_status(results.status(run))[0] for run in row.runs)
    state = next((s for s in (DONE, FAILED, NOT_RUN) if states[s]), ABSENT)
    to = {"gain": baseline.id, "difference": reference and reference.id}
    compared = {
        name: difference(own, samples[other]) if other not in (None, row.id) else None
        for name, other in to.items()
    }
    return Line(
        row=row,
        baseline=baseline,
        reference=reference,
        metrics={
            metric: list(results.values(row, metric, ablation.kind).values()) for metric in METRICS
        },
        state=state,
        done=states[DONE],
        sample=own,
        cost=costs.get(row.runs[0].step_key) if row.runs else None,
        **compared,
    )


def _missing(ablation: Ablation, results: Results) -> list[tuple[str, Row, Run | None, str]]:
    found: list[tuple[str, Row, Run | None, str]] = []
    for row in ablation.rows:
        if row.absent is not None:
            found.append((ABSENT, row, None, row.absent))
        for run in row.runs:
            state, reason = split_status(results.status(run))
            if state != DONE:
                found.append((state, row, run, reason))
    return found
