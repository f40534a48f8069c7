"""Figures, drawn from the raw numbers; readable in grey."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from icd.files import atomic
from icd.suite.ablation import Ablation
from icd.suite.results import KINDS, Results
from icd.suite.statistics import Estimate
from icd.suite.summary import Line, Summary, summarise

STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "icd",  # the same numbers give the same file
    "svg.fonttype": "none",
}
BAR, POINT, PUBLISHED, GUIDE = "0.78", "0.15", "0.35", "0.6"
SEED = {"s": 12, "color": POINT, "zorder": 4, "label": "one seed"}
PAPER = {"marker": "D", "s": 24, "facecolor": "white", "edgecolor": PUBLISHED, "zorder": 3}
BARS = {"color": POINT, "elinewidth": 1.2, "capsize": 4, "zorder": 2}
MARK = {"marker": "s", "s": 16, "edgecolor": POINT, "zorder": 3}
ASIDE = 0.27  # of a row: what would hide the mean stands beside it


def write_figures(ablation: Ablation, results: Results, outputs: Sequence[Path]) -> None:
    """Draw an ablation: AP against an option if it names one, else AP and gain of each row."""
    summary = summarise(ablation, results)
    draw = draw_curve if ablation.figure else draw_rows
    with mpl.rc_context(STYLE):
        save(draw(summary), outputs)


def save(figure: Figure, outputs: Sequence[Path]) -> None:
    """Write a figure in the format of each file's suffix; equal figures give equal bytes."""
    for output in outputs:
        with atomic(output) as temporary:
            metadata = {"Date": None} if output.suffix == ".svg" else None
            figure.savefig(temporary, dpi=200, metadata=metadata)


def draw_rows(summary: Summary) -> Figure:
    """AP of each row as bars and, beside it, the gains with their intervals."""
    gaps = {id(line): gap for line, gap in zip(summary.lines, places(summary.lines), strict=True)}
    height = 0.42 * (max(gaps.values()) + 1) + 1.5
    figure = Figure(figsize=(7.6, height), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.15, 1])
    for line in summary.lines:
        draw_level(left, line, gaps[id(line)])
        draw_gain(right, line, gaps[id(line)])
    left.set_yticks(list(gaps.values()), [line.row.label for line in summary.lines])
    left.set_ylim(max(gaps.values()) + 0.6, -0.6)  # the first row on top
    right.tick_params(axis="y", left=False)
    right.spines["left"].set_visible(False)
    right.axvline(0, color=GUIDE, linewidth=0.8, zorder=0)
    kind = KINDS[summary.ablation.kind]
    left.set_xlabel(f"{kind}AP (%)")
    baselines = {line.baseline.label for line in summary.lines}
    over = f"over {baselines.pop()}" if len(baselines) == 1 else "over its baseline"
    right.set_xlabel(f"gain in {kind}AP {over}")
    return titled(figure, summary, [left, right])


def places(lines: Sequence[Line]) -> list[float]:
    """Where rows stand from the top; a gap between those of one baseline and of the next."""
    found, place = [], 0.0
    for i, line in enumerate(lines):
        if i:
            place += 1 if line.baseline.id == lines[i - 1].baseline.id else 1.5
        found.append(place)
    return found


def draw_level(axes: Axes, line: Line, place: float) -> None:
    """A bar for the mean, points for the seeds, a diamond for the paper."""
    seeds = line.metrics["AP"]
    if line.published is not None:
        axes.scatter(line.published, place, label="paper, on COCO", **PAPER)
    if not seeds:
        word = "-" if line.state == "done" else line.state
        axes.annotate(word, (0, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
        return
    mean = sum(seeds) / len(seeds)
    axes.barh(place, mean, height=0.66, color=BAR, zorder=1)
    axes.scatter(seeds, [place] * len(seeds), **SEED)
    axes.annotate(
        f"{mean:.1f}", (0, place), (4, 0), textcoords="offset points", va="center", fontsize=8
    )


def draw_gain(axes: Axes, line: Line, place: float) -> None:
    """The gain with its interval, hollow if undecided; seeds above, a diamond for the paper's."""
    if line.published_gain is not None:
        axes.scatter(line.published_gain, place + ASIDE, label="paper, on COCO", **PAPER)
    if line.gain is not None:
        draw_estimate(axes, line.gain, place, horizontal=True)
        axes.scatter(line.gain.values, [place - ASIDE] * line.gain.seeds, **SEED)


def draw_estimate(axes: Axes, value: Estimate, place: float, horizontal: bool) -> None:
    """A mean with its interval as an error bar."""
    at = (value.mean, place) if horizontal else (place, value.mean)
    if value.interval is not None:
        low, high = value.interval
        error = [[value.mean - low], [high - value.mean]]
        axes.errorbar(*at, **{"xerr" if horizontal else "yerr": error}, **BARS)
    hollow = horizontal and value.undecided
    label = "mean and 95 % interval" + ", undecided" * hollow
    axes.scatter(*at, facecolor="white" if hollow else POINT, label=label, **MARK)


def draw_curve(summary: Summary) -> Figure:
    """AP against an option, ours and, on an axis of its own, the paper's."""
    lines = [line for line in summary.lines if line.row.x is not None]
    known = [line for line in lines if line.published is not None]
    figure = Figure(figsize=(7.6 if known else 4.4, 3.2), layout="constrained")
    ours, *paper = figure.subplots(1, 2 if known else 1, squeeze=False, sharex=True)[0]
    kind, axis = KINDS[summary.ablation.kind], summary.ablation.figure
    for axes in (ours, *paper):  # first: what is drawn beside a mark depends on it
        axes.set_xscale(axis.get("scale", "linear"))
    draw_ours(ours, lines)
    baseline = next((line for line in summary.lines if line.is_baseline), None)
    draw_guide(ours, baseline and baseline.level and baseline.level.mean, baseline)
    ours.set_ylabel(f"{kind}AP (%)")
    for axes in paper:
        draw_guide(axes, baseline and baseline.published, baseline)
        points = sorted((line.row.x, line.published) for line in known)
        axes.plot(*zip(*points, strict=True), color=PUBLISHED, linewidth=1, zorder=1)
        axes.scatter(*zip(*points, strict=True), label="paper, on COCO", **PAPER)
        axes.set_ylabel(f"published {kind}AP (%)")
    for axes in (ours, *paper):
        ticks = sorted({line.row.x for line in lines})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel(axis["label"])
    return titled(figure, summary, [ours, *paper])


def draw_ours(axes: Axes, lines: Sequence[Line]) -> None:
    """Means with intervals, joined by a line, and the seeds."""
    found = sorted((line for line in lines if line.level), key=lambda line: line.row.x)
    means = [line.level.mean for line in found]
    axes.plot([line.row.x for line in found], means, color=POINT, linewidth=1, zorder=1)
    for line in found:
        draw_estimate(axes, line.level, line.row.x, horizontal=False)
        seeds = line.metrics["AP"]
        beside = axes.transData + ScaledTranslation(0.08, 0, axes.figure.dpi_scale_trans)
        axes.scatter([line.row.x] * len(seeds), seeds, transform=beside, **SEED)


def draw_guide(axes: Axes, value: float | None, baseline: Line | None) -> None:
    """The baseline, dashed, where it has no place on the axis itself."""
    if value is not None and baseline.row.x is None:
        axes.axhline(
            value, color=GUIDE, linestyle="--", linewidth=1, zorder=0, label=baseline.row.label
        )


def titled(figure: Figure, summary: Summary, axes: Sequence[Axes]) -> Figure:
    """Title above and one legend below all panels."""
    figure.suptitle(summary.ablation.title, x=0.01, ha="left", fontsize=10)
    handles = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    return figure
