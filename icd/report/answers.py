"""What the tables answer: one line for each question, with its evidence and the paper's value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from icd.experiments.ablation_content import Comparison
from icd.report.intervals import Estimate
from icd.report.statistics import difference
from icd.report.summary import Entry, Summary

HEADER = ["question", "answer", "difference [95 %]", "detectable", "published"]
EXPLAINED = (
    "Difference: AP of the row that the question is about, less that of the other. Detectable: the "
    "smallest true difference that would be significant in 80 % of such experiments; what cannot "
    "be told may be smaller. Published: the paper's difference, on COCO. Only its sign is "
    "compared, because the sizes of gains depend on the scale. The intervals are not corrected for "
    "the number of questions."
)


@dataclass(frozen=True)
class Answer:
    """A question that two rows of a table answer.

    estimate: AP of the first row less that of the second.
    published: the same difference between published values with one recipe; None if unknown.
    """

    question: str
    estimate: Estimate
    published: float | None

    @property
    def verdict(self) -> str:
        """Yes or no and what the paper says, or that the experiment cannot tell.

        Both are about the sign: the sizes of gains depend on the scale. One seed cannot tell: its
        interval lacks the variance of trainings.
        """
        if self.estimate.seeds < 2:
            return "cannot tell from one seed"
        if not self.estimate.sign:
            return "cannot tell"
        answer = "yes" if self.estimate.sign > 0 else "no"
        if self.published is None:
            return answer
        agrees = self.published * self.estimate.sign > 0
        return f"{answer}, {'as in' if agrees else 'unlike'} the paper"

    @property
    def cells(self) -> list[str]:
        """What a table shows of it, under HEADER."""
        estimate, published = self.estimate, self.published
        low, high = estimate.interval or (float("nan"), float("nan"))
        return [
            self.question,
            self.verdict,
            f"{estimate.mean:+.1f} [{low:+.1f}, {high:+.1f}]",
            "-" if estimate.detectable is None else f"{estimate.detectable:.1f}",
            "-" if published is None else f"{published:+.1f}",
        ]


def answers(summary: Summary, comparisons: Iterable[Comparison]) -> Iterator[Answer]:
    """The answers of a table, without those to questions whose rows were not both measured."""
    for one in comparisons:
        row, other = summary.entry(one.row), summary.entry(one.over)
        estimate = difference(row.sample, other.sample)
        if estimate is not None and estimate.interval is not None:
            yield Answer(one.question, estimate, _published(row, other))


def _published(row: Entry, other: Entry) -> float | None:
    """The published difference of two rows, unless their recipes differ."""
    if row.published is None or other.published is None:
        return None
    if not (row.is_comparable and other.is_comparable):
        return None
    return row.published - other.published
