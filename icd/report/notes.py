"""The notes below a table: what its numbers mean, what is missing, and what the paper says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from math import isclose, isnan
from statistics import median
from textwrap import shorten
from typing import NamedTuple

from icd.experiments.ablation import Ablation, Row
from icd.report.intervals import Estimate
from icd.report.recipes import recipes
from icd.report.results import ABSENT, AP_NAMES, FAILED, NOT_RUN
from icd.report.statistics import Agreement
from icd.report.summary import Entry, Missing, Summary

COSTS = (
    "Time: 1 plus the time of the method alone, as a ratio to the student's step plus the "
    "teacher's forward pass. MiB: memory of the method alone, beyond weights and feature pyramids. "
    "Both are from the cost table, for ten objects per image; - means not measured."
)

EARLIER = (
    "**Measured with an earlier version of these runs.** What they compute has changed since (see "
    "the changelog); making the table again measures today's runs."
)
DIAGNOSIS = (
    "Decoder: means over the last measurements of training, images, heads, layers and seeds. "
    "Effective tokens: exponential of the entropy of the attention of an image's objects, and its "
    "share of all tokens. Attention in boxes: its share in annotated boxes, beside the share of "
    "tokens that lie there. Recognised / mistaken: annotated / fake instances with an objectness "
    "above 0.5; - means not measured."
)

DEPLOYMENT = (
    "GFLOPs: billions of multiply-adds for an image, as mmengine counts them. ms: processor time "
    "per image of the ONNX model in onnxruntime, on one thread; MB: its size. The model is in "
    "float32 and ends with non-maximum suppression; - means not measured, or that the detector "
    "cannot be exported."
)


def paragraphs(summary: Summary) -> list[str]:
    """The paragraphs below a table, in order."""
    ablation = summary.ablation
    texts = [
        agreement(summary.order, summary.order_distilled),
        EARLIER if summary.earlier else "",
        ablation.findings,
        " ".join([measure(summary), *intervals(summary)]),
        classes(summary),
        COSTS if ablation.costs else "",
        DIAGNOSIS if summary.is_diagnosed else "",
        DEPLOYMENT if summary.is_deployed else "",
        *missing(summary),
        recipes(ablation),
        ablation.notes,
        sources(ablation),
    ]
    return [text.strip() for text in texts if text]


def agreement(order: Agreement | None, distilled: Agreement | None) -> str:
    """Does our order agree with the published one? Over all rows, and without baselines."""
    question = "Does our order agree with the published one?"
    if order is None:
        return f"{question} Fewer than three rows have both values, so there is no comparison."
    if isnan(order.tau):
        return f"{question} All values are equal, so there is no comparison."
    answer = "Yes" if isclose(order.tau, 1) else "In part" if order.tau > 0 else "No"
    return (
        f"{question} {answer}: Kendall's tau is {tau(order)} over the {order.rows} rows that have "
        f"both values. Of the {order.pairs} pairs of these rows, {order.significant} are "
        f"significant (Holm's correction); {order.same} of them have the published order."
        f"{_without_baselines(distilled)}"
    )


def tau(order: Agreement) -> str:
    """Kendall's tau with its interval over seeds and images."""
    if order.interval is None:
        return f"{order.tau:+.2f}"
    low, high = order.interval
    return f"{order.tau:+.2f} [{low:+.2f}, {high:+.2f}]"


def _without_baselines(order: Agreement | None) -> str:
    """Pairs with a baseline often only show that distillation helps."""
    if order is None or isnan(order.tau):
        return ""
    return (
        f" Without baselines: tau {tau(order)} over {order.rows} rows, {order.significant} of "
        f"{order.pairs} pairs significant, {order.same} of them in the published order."
    )


def measure(summary: Summary) -> str:
    """What the columns of AP are."""
    ablation = summary.ablation
    teachers = [
        {run.sources_by_role["teacher"].id for run in row.runs if "teacher" in run.sources_by_role}
        for row in ablation.rows
    ]
    own = " (each with its own teacher)" * any(len(each) > 1 for each in teachers)
    return (
        f"{AP_NAMES[ablation.iou_type]} in percent on the {ablation.split} split: "
        f"mean{_scatter(summary)} across seeds{own}."
    )


def _scatter(summary: Summary) -> str:
    """How the cells show what seeds differ by."""
    seeds = {min(entry.done, 3) for entry in summary.entries}
    words = {2: "both values", 3: "± standard deviation"}
    named = " or ".join(words[count] for count in sorted(seeds & {*words}))
    return f" with {named}" if named else ""


def classes(summary: Summary) -> str:
    """Which classes lose significantly."""
    if summary.lost is None:
        return ""
    named = {
        summary.entry(row).row.label: ", ".join(f"{name} {gain:+.1f}" for name, gain in classes)
        for row, classes in summary.lost.items()
    }
    lost = "; ".join(f"{label}: {names}" for label, names in named.items())
    return (
        f"Classes that lose significantly {summary.over}, with Holm's correction over the classes "
        f"of a row: {lost or 'none'}."
    )


class Restriction(NamedTuple):
    """An interval that says less than the others.

    applies: whether it is of this sort.
    all, some: what to say if all intervals are, and if those of some rows are.
    """

    applies: Callable[[Entry, Estimate], bool]
    all: str
    some: str


RESTRICTIONS = (
    Restriction(
        lambda entry, e: e.images and e.seeds == 1,
        "All intervals cover the images only, because there is one seed.",
        "Interval of {}: images only (one seed).",
    ),
    Restriction(
        lambda entry, e: not e.images and e.seeds > 1,
        "All intervals cover the seeds only, because there is no bootstrap.",
        "Interval of {}: seeds only (no bootstrap).",
    ),
    Restriction(
        lambda entry, e: not e.interval,
        "There are no intervals: they need at least two seeds or a bootstrap.",
        "No interval for {}: it needs at least two seeds or a bootstrap.",
    ),
    Restriction(
        lambda entry, e: entry.sample.single and e.seeds > 1,
        "All intervals leave out how much the single runs would vary with their seed.",
        "Interval of {}: a single run, so it leaves out how much such runs vary.",
    ),
    Restriction(
        lambda entry, e: e.seeds < entry.done,
        "All intervals cover the common seeds only.",
        "Interval of {}: common seeds only.",
    ),
)


def intervals(summary: Summary) -> list[str]:
    """What the intervals cover, and which cover less than the others."""
    shown = summary.intervals
    if not shown:
        return []
    texts = [
        "Brackets: 95 % confidence interval of the difference, paired by seed. It combines the "
        "variance across seeds with the bootstrap variance over images. A difference is "
        "inconclusive if its interval contains 0.",
        *power(summary),
    ]
    for applies, of_all, of_some in RESTRICTIONS:
        concerned = [entry.row for entry, estimate in shown if applies(entry, estimate)]
        if len(concerned) == len(shown) > 1:
            texts.append(of_all)
        elif concerned:
            texts.append(of_some.format(unique(concerned)))
    return texts


def power(summary: Summary) -> list[str]:
    """What the table could have detected, so that "inconclusive" describes the experiment."""
    sizes = [e.detectable for _, e in summary.intervals if e.detectable is not None]
    if not sizes:
        return []
    span = f"{min(sizes):.1f} to {max(sizes):.1f}, median {median(sizes):.1f}"
    return [
        "The smallest true difference that would be significant in 80 % of such experiments is "
        + (f"{span} AP." if len(sizes) > 1 else f"{sizes[0]:.1f} AP.")
    ]


def missing(summary: Summary) -> list[str]:
    """One sentence each for failed runs, runs that are left, and rows that cannot be."""
    texts = []
    for state in (FAILED, NOT_RUN, ABSENT):
        gaps = (gap for gap in summary.missing if gap.state == state)
        named = [
            _named(list(group)) for _, group in groupby(gaps, lambda gap: (gap.row, gap.reason))
        ]
        if named:
            texts.append(f"{state.capitalize()}: {'; '.join(named)}.")
    return texts


def _named(gaps: Sequence[Missing]) -> str:
    """A row, the seeds concerned and the reason, of gaps of the same row and reason."""
    row, reason = gaps[0].row, gaps[0].reason
    seeds = [
        str(gap.run.training_seed) for gap in gaps if gap.run and gap.run.training_seed is not None
    ]
    text = row.label + (f", seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}" if seeds else "")
    return f"{text} ({shorten(reason, 160)})" if reason else text


def sources(ablation: Ablation) -> str:
    """The sources of the published values, rows of one source together."""
    by_source: dict[str, list[Row]] = {}
    for row in ablation.rows:
        if row.published:
            by_source.setdefault(row.published.source, []).append(row)
    named = [f"{unique(rows)} ({source})" for source, rows in by_source.items()]
    return f"Published: {'; '.join(named)}." if named else ""


def unique(rows: Iterable[Row]) -> str:
    """Labels of rows, each once; a label may have commas of its own."""
    return " / ".join(dict.fromkeys(row.label for row in rows))
