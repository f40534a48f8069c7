"""What stands below a table: what its numbers mean, what is missing, and what the paper says."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from math import isclose, isnan
from textwrap import shorten

from icd.experiments.ablation import Ablation, Row
from icd.experiments.run import Run
from icd.report.recipes import recipes
from icd.report.results import ABSENT, FAILED, KINDS, NOT_RUN
from icd.report.statistics import Agreement
from icd.report.summary import Summary

COSTS = (
    "Time: one plus what the method alone takes, as a ratio to the student's step and the "
    "teacher's forward pass together. MiB: what the method alone takes beyond weights and "
    "pyramids. Both with ten objects an image, from the table of costs, where they were measured."
)


def paragraphs(summary: Summary) -> list[str]:
    """The paragraphs below a table, in order."""
    ablation = summary.ablation
    found = [
        agreement(summary.order, summary.order_distilled),
        ablation.findings,
        " ".join([measure(summary), *intervals(summary)]),
        COSTS if ablation.costs else "",
        *missing(summary),
        recipes(ablation),
        ablation.notes,
        sources(ablation),
    ]
    return [text.strip() for text in found if text]


def agreement(order: Agreement | None, distilled: Agreement | None) -> str:
    """Does our order agree with the published one? Of all rows, and of those but the baselines."""
    question = "Does our order agree with the published one?"
    if order is None:
        return f"{question} Fewer than three rows have both values: nothing to compare."
    if isnan(order.tau):
        return f"{question} All values are equal: nothing to compare."
    answer = "Yes" if isclose(order.tau, 1) else "In part" if order.tau > 0 else "No"
    return (
        f"{question} {answer}: Kendall's tau is {order.tau:+.2f} over the {order.rows} rows "
        f"that have both. Our intervals decide {order.decided} of the {order.pairs} pairs of these "
        f"rows, {order.same} of them as the paper has it.{_without_baselines(distilled)}"
    )


def _without_baselines(order: Agreement | None) -> str:
    """Their pairs often say no more than that distillation helps."""
    if order is None or isnan(order.tau):
        return ""
    return (
        f" Without baselines: tau {order.tau:+.2f} over {order.rows} rows, {order.decided} of "
        f"{order.pairs} pairs decided, {order.same} as the paper has it."
    )


def measure(summary: Summary) -> str:
    """What the columns of AP are."""
    ablation = summary.ablation
    teachers = [{run.teacher.id for run in row.runs if run.teacher} for row in ablation.rows]
    own = " (each with its own teacher)" * any(len(found) > 1 for found in teachers)
    return (
        f"{KINDS[ablation.kind]}AP in percent on the {ablation.split} split, "
        f"mean ± standard deviation over the seeds{own}."
    )


def intervals(summary: Summary) -> list[str]:
    """What the intervals include, and where one says less than the others."""
    shown = summary.intervals
    if not shown:
        return []
    found = [
        "Brackets: 95 % confidence interval of the difference, seed by seed, over seeds and "
        "images; undecided if it contains 0."
    ]
    parts = (
        (lambda line, e: e.images and e.seeds == 1, "over the images alone, from one seed"),
        (
            lambda line, e: not e.images and e.seeds > 1,
            "over the seeds alone, for want of a bootstrap",
        ),
        (lambda line, e: not e.interval, "none, for want of a second seed and of a bootstrap"),
        (lambda line, e: e.seeds < line.done, "over the seeds in common alone"),
    )
    for applies, text in parts:
        concerned = [line.row for line, estimate in shown if applies(line, estimate)]
        if len(concerned) == len(shown) > 1:
            found.append(f"All intervals: {text}.")
        elif concerned:
            found.append(f"Interval of {unique(concerned)}: {text}.")
    return found


def missing(summary: Summary) -> list[str]:
    """One line for what failed, one for what was not run, one for what the track cannot have."""
    found = []
    for state in (FAILED, NOT_RUN, ABSENT):
        named = [
            _named(row, [run for _, _, run, _ in group], reason)
            for (row, reason), group in groupby(
                (entry for entry in summary.missing if entry[0] == state),
                key=lambda entry: (entry[1], entry[3]),
            )
        ]
        if named:
            found.append(f"{state.capitalize()}: {'; '.join(named)}.")
    return found


def _named(row: Row, runs: list[Run | None], reason: str) -> str:
    """A row, the seeds concerned and the reason."""
    seeds = [str(run.seed_or_none) for run in runs if run and run.seed_or_none is not None]
    text = row.label + (f", seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}" if seeds else "")
    return f"{text} ({shorten(reason, 160)})" if reason else text


def sources(ablation: Ablation) -> str:
    """Where the published values come from, rows of the same source together."""
    found: dict[str, list[Row]] = {}
    for row in ablation.rows:
        if row.published:
            found.setdefault(row.published["source"], []).append(row)
    named = [f"{unique(rows)} ({source})" for source, rows in found.items()]
    return f"Published: {'; '.join(named)}." if named else ""


def unique(rows: Iterable[Row]) -> str:
    """Labels of rows, each once; a label may have commas of its own."""
    return " / ".join(dict.fromkeys(row.label for row in rows))
