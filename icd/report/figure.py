"""Figures, drawn from the raw numbers; readable in grey."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from icd.experiments.ablation import Ablation
from icd.files import atomic
from icd.report.results import DONE, KINDS, Results
from icd.report.statistics import Estimate
from icd.report.summary import Line, Summary, summarise

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
    "text.parse_math": False,  # a $ in a title is a $
}
BAR, POINT, PUBLISHED, GUIDE = "0.78", "0.15", "0.35", "0.6"
SEED = {"s": 12, "color": POINT, "zorder": 4, "label": "one seed"}
PAPER = {"marker": "D", "s": 24, "facecolor": "white", "edgecolor": PUBLISHED, "zorder": 3}
BARS = {"color": POINT, "elinewidth": 1.2, "capsize": 4, "zorder": 2}
MARK = {"marker": "s", "s": 16, "edgecolor": POINT, "zorder": 3}
LABEL = 36  # characters of a line of an axis label
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
    """AP of each row as bars; beside it gains, and differences to a reference, with intervals."""
    gaps = {id(line): gap for line, gap in zip(summary.lines, places(summary.lines), strict=True)}
    height = 0.42 * (max(gaps.values()) + 1) + 1.5
    compared = summary.ablation.references != []
    figure = Figure(figsize=(10.8 if compared else 7.6, height), layout="constrained")
    left, *others = figure.subplots(
        1, 2 + compared, sharey=True, width_ratios=[1.15, 1, 1][: 2 + compared]
    )
    for line in summary.lines:
        draw_level(left, line, gaps[id(line)])
        draw_change(others[0], line.gain, line.published_gain, gaps[id(line)])
        for axes in others[1:]:
            draw_change(axes, line.difference, line.published_difference, gaps[id(line)])
    left.set_yticks(list(gaps.values()), [line.row.label for line in summary.lines])
    left.set_ylim(max(gaps.values()) + 0.6, -0.6)  # the first row on top
    kind = KINDS[summary.ablation.kind]
    left.set_xlabel(f"{kind}AP (%)")
    others[0].set_xlabel(f"gain in {kind}AP\n{fill(summary.over, LABEL)}")
    for axes in others[1:]:
        axes.set_xlabel(f"difference in {kind}AP\n{fill(summary.to, LABEL)}")
    for axes in others:
        axes.tick_params(axis="y", left=False)
        axes.spines["left"].set_visible(False)
        axes.axvline(0, color=GUIDE, linewidth=0.8, zorder=0)
    return titled(figure, summary, [left, *others])


def places(lines: Sequence[Line]) -> list[float]:
    """Where rows stand from the top; a gap between those of one baseline and of the next."""
    found, place = [], 0.0
    for i, line in enumerate(lines):
        if i:
            place += 1 if line.baseline.id == lines[i - 1].baseline.id else 1.5
        found.append(place)
    return found


def draw_level(axes: Axes, line: Line, place: float) -> None:
    """A bar for the mean, points for the seeds, a diamond below for the paper."""
    seeds = line.metrics["AP"]
    if line.published is not None:
        axes.scatter(line.published, place + ASIDE, label="paper, on COCO", **PAPER)
    text = "-" if line.state == DONE else line.state
    if seeds:
        mean = sum(seeds) / len(seeds)
        axes.barh(place, mean, height=0.66, color=BAR, zorder=1)
        axes.scatter(seeds, [place] * len(seeds), **SEED)
        text = f"{mean:.1f}"
    axes.annotate(text, (0, place), (4, 0), textcoords="offset points", va="center", fontsize=8)


def draw_change(axes: Axes, found: Estimate | None, published: float | None, place: float) -> None:
    """A difference with its interval, hollow if undecided; seeds above, the paper's below."""
    if published is not None:
        axes.scatter(published, place + ASIDE, label="paper, on COCO", **PAPER)
    if found is not None:
        draw_estimate(axes, found, place, horizontal=True, hollow=found.undecided)
        axes.scatter(found.values, [place - ASIDE] * found.seeds, **SEED)


def draw_estimate(
    axes: Axes, value: Estimate, place: float, horizontal: bool = False, hollow: bool = False
) -> None:
    """A mean with its interval as an error bar."""
    at = (value.mean, place) if horizontal else (place, value.mean)
    if value.interval is not None:
        low, high = value.interval
        error = [[value.mean - low], [high - value.mean]]
        axes.errorbar(*at, **{"xerr" if horizontal else "yerr": error}, **BARS)
    label = "mean and 95 % interval" + ", undecided" * hollow
    axes.scatter(*at, facecolor="white" if hollow else POINT, label=label, **MARK)


def draw_curve(summary: Summary) -> Figure:
    """AP against an option: ours, differences to the reference, and the published values."""
    lines = sorted(
        (line for line in summary.lines if line.row.x is not None), key=lambda line: line.row.x
    )
    draw = [draw_ours]
    draw += [draw_differences] if summary.ablation.references else []
    draw += [draw_published] if any(line.published is not None for line in lines) else []
    figure = Figure(figsize=(1.2 + 2.9 * len(draw), 3.2), layout="constrained")
    panels = figure.subplots(1, len(draw), squeeze=False, sharex=True)[0]
    axis, ticks = summary.ablation.figure, sorted({line.row.x for line in lines})
    for axes, draw_panel in zip(panels, draw, strict=True):
        axes.set_xscale(axis.get("scale", "linear"))  # first: what stands aside depends on it
        draw_panel(axes, lines, summary)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlim(*around(ticks, axis.get("scale", "linear")))
        axes.set_xlabel(axis["label"])
    return titled(figure, summary, panels)


def around(ticks: Sequence[float], scale: str) -> tuple[float, float]:
    """Limits of an axis with room beside its first and last tick, whatever has been drawn."""
    low, high = ticks[0], ticks[-1]
    if scale == "log":
        room = (high / low) ** 0.08 if low < high else 2
        return low / room, high * room
    room = 0.08 * (high - low) or 1
    return low - room, high + room


def draw_ours(axes: Axes, lines: Sequence[Line], summary: Summary) -> None:
    """Means with intervals, joined by a line, and the seeds; what has no mean says why."""
    found = [line for line in lines if line.level]
    means = [line.level.mean for line in found]
    axes.plot([line.row.x for line in found], means, color=POINT, linewidth=1, zorder=1)
    for line in found:
        draw_estimate(axes, line.level, line.row.x)
        draw_seeds(axes, line.row.x, line.level)
    middle = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "center"}
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    for line in lines:
        if not line.level:
            axes.text(line.row.x, 0.5, line.state, rotation=90, fontsize=8, bbox=ground, **middle)
    baseline = summary.line(summary.ablation.baseline)
    draw_guide(axes, baseline.level and baseline.level.mean, baseline)
    axes.set_ylabel(f"{KINDS[summary.ablation.kind]}AP (%)")


def draw_differences(axes: Axes, lines: Sequence[Line], summary: Summary) -> None:
    """Differences to the reference, seed by seed, with intervals; hollow if undecided."""
    for line in lines:
        if line.difference:
            draw_estimate(axes, line.difference, line.row.x, hollow=line.difference.undecided)
            draw_seeds(axes, line.row.x, line.difference)
    axes.axhline(0, color=GUIDE, linewidth=0.8, zorder=0)
    axes.set_ylabel(f"difference in {KINDS[summary.ablation.kind]}AP\n{fill(summary.to, LABEL)}")


def draw_published(axes: Axes, lines: Sequence[Line], summary: Summary) -> None:
    """The paper's values, joined by a line, on an axis of their own."""
    points = [(line.row.x, line.published) for line in lines if line.published is not None]
    axes.plot(*zip(*points, strict=True), color=PUBLISHED, linewidth=1, zorder=1)
    axes.scatter(*zip(*points, strict=True), label="paper, on COCO", **PAPER)
    baseline = summary.line(summary.ablation.baseline)
    draw_guide(axes, baseline.published, baseline)
    axes.set_ylabel(f"published {KINDS[summary.ablation.kind]}AP (%)")


def draw_seeds(axes: Axes, place: float, value: Estimate) -> None:
    """The values of the seeds, a little to the right of their mean."""
    beside = axes.transData + ScaledTranslation(0.08, 0, axes.figure.dpi_scale_trans)
    axes.scatter([place] * value.seeds, value.values, transform=beside, **SEED)


def draw_guide(axes: Axes, value: float | None, baseline: Line) -> None:
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
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5)
    return figure
