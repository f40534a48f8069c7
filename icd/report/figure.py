"""The figure of a table, drawn from the raw numbers; readable in grey."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from icd.experiments.ablation import Ablation
from icd.experiments.ablation_content import Axis
from icd.files import atomic
from icd.report.intervals import Estimate
from icd.report.results import AP_NAMES, DONE, Results
from icd.report.summary import Entry, Summary, summarise

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

STYLE: dict[RcKeyType, Any] = {
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
SEED: dict[str, Any] = {"s": 12, "color": POINT, "zorder": 4, "label": "one seed"}
PAPER: dict[str, Any] = {
    "marker": "D",
    "s": 24,
    "facecolor": "white",
    "edgecolor": PUBLISHED,
    "zorder": 3,
}
BARS: dict[str, Any] = {"color": POINT, "elinewidth": 1.2, "capsize": 4, "zorder": 2}
MARK: dict[str, Any] = {"marker": "s", "s": 16, "edgecolor": POINT, "zorder": 3}
LABEL = 36  # characters of a line of an axis label
ASIDE = 0.27  # of a row: how far other marks stand from the mean, which they would hide


Points = Sequence[tuple[float, Entry]]  # places on the axis, from the first on, and their rows


def write_figures(ablation: Ablation, results: Results, outputs: Sequence[Path]) -> None:
    """Draw an ablation: AP against an option if it names one, else AP and gain of each row."""
    summary = summarise(ablation, results)
    with mpl.rc_context(STYLE):
        figure = draw_curve(summary, ablation.axis) if ablation.axis else draw_rows(summary)
        save(figure, outputs)


def save(figure: Figure, outputs: Sequence[Path]) -> None:
    """Write a figure in the format of each file's suffix; equal figures give equal bytes."""
    for output in outputs:
        with atomic(output) as temporary:
            metadata = {"Date": None} if output.suffix == ".svg" else None
            figure.savefig(temporary, dpi=200, metadata=metadata)


def draw_rows(summary: Summary) -> Figure:
    """AP of each row as bars; beside them gains and differences to a reference, with intervals."""
    heights = places(summary.entries)
    height = 0.42 * (max(heights) + 1) + 1.5
    compared = summary.ablation.references != []
    figure = Figure(figsize=(10.8 if compared else 7.6, height), layout="constrained")
    left, *others = figure.subplots(
        1, 2 + compared, sharey=True, width_ratios=[1.15, 1, 1][: 2 + compared]
    )
    for entry, place in zip(summary.entries, heights, strict=True):
        draw_level(left, entry, place)
        draw_change(others[0], entry.gain, entry.published_gain, place)
        for axes in others[1:]:
            draw_change(axes, entry.difference, entry.published_difference, place)
    left.set_yticks(heights, [entry.row.label for entry in summary.entries])
    left.set_ylim(max(heights) + 0.6, -0.6)  # the first row on top
    ap = AP_NAMES[summary.ablation.iou_type]
    left.set_xlabel(f"{ap} (%)")
    others[0].set_xlabel(f"gain in {ap}\n{fill(summary.over, LABEL)}")
    for axes in others[1:]:
        axes.set_xlabel(f"difference in {ap}\n{fill(summary.to, LABEL)}")
    for axes in others:
        axes.tick_params(axis="y", left=False)
        axes.spines["left"].set_visible(False)
        axes.axvline(0, color=GUIDE, linewidth=0.8, zorder=0)
    return titled(figure, summary, [left, *others])


def places(entries: Sequence[Entry]) -> list[float]:
    """Positions of rows from the top, with a gap wherever the baseline changes."""
    positions, place = [], 0.0
    for i, entry in enumerate(entries):
        if i:
            place += 1 if entry.baseline.id == entries[i - 1].baseline.id else 1.5
        positions.append(place)
    return positions


def draw_level(axes: Axes, entry: Entry, place: float) -> None:
    """A bar for the mean, points for the seeds, a diamond below for the paper."""
    seeds = entry.metrics["AP"]
    if entry.published is not None:
        axes.scatter(entry.published, place + ASIDE, label="paper, on COCO", **PAPER)
    text = "-" if entry.state == DONE else entry.state
    if seeds:
        mean = sum(seeds) / len(seeds)
        axes.barh(place, mean, height=0.66, color=BAR, zorder=1)
        axes.scatter(seeds, [place] * len(seeds), **SEED)
        text = f"{mean:.1f}"
    axes.annotate(text, (0, place), (4, 0), textcoords="offset points", va="center", fontsize=8)


def draw_change(axes: Axes, change: Estimate | None, published: float | None, place: float) -> None:
    """A difference with its interval, hollow if inconclusive; seeds above, the paper below."""
    if published is not None:
        axes.scatter(published, place + ASIDE, label="paper, on COCO", **PAPER)
    if change is not None:
        draw_estimate(axes, change, place, horizontal=True, hollow=change.inconclusive)
        axes.scatter(change.values, [place - ASIDE] * change.seeds, **SEED)


def draw_estimate(
    axes: Axes, value: Estimate, place: float, horizontal: bool = False, hollow: bool = False
) -> None:
    """A mean with its interval as an error bar."""
    x, y = (value.mean, place) if horizontal else (place, value.mean)
    if value.interval is not None:
        low, high = value.interval
        error = [[value.mean - low], [high - value.mean]]
        xerr, yerr = (error, None) if horizontal else (None, error)
        axes.errorbar(x, y, yerr=yerr, xerr=xerr, **BARS)
    label = "mean and 95 % interval" + ", inconclusive" * hollow
    axes.scatter(x, y, facecolor="white" if hollow else POINT, label=label, **MARK)


def draw_curve(summary: Summary, axis: Axis) -> Figure:
    """AP against an option: ours, differences to the reference, and the published values.

    Args:
        summary: of an ablation that places some rows on the axis.
        axis: its ``label`` and its ``scale``, linear if there is none.
    """
    placed = [(entry.row.x, entry) for entry in summary.entries if entry.row.x is not None]
    points = sorted(placed, key=lambda point: point[0])
    panels: list[Callable[[Axes, Points, Summary], None]] = [draw_ours]
    if summary.ablation.references:
        panels.append(draw_differences)
    if any(entry.published is not None for _, entry in points):
        panels.append(draw_published)
    figure = Figure(figsize=(1.2 + 2.9 * len(panels), 3.2), layout="constrained")
    places = figure.subplots(1, len(panels), squeeze=False, sharex=True)[0]
    ticks, scale = sorted({x for x, _ in points}), axis.scale
    for axes, draw_panel in zip(places, panels, strict=True):
        axes.set_xscale(scale)  # first: where marks stand beside others depends on it
        draw_panel(axes, points, summary)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlim(*around(ticks, scale))
        axes.set_xlabel(axis.label)
    return titled(figure, summary, places)


def around(ticks: Sequence[float], scale: str) -> tuple[float, float]:
    """Limits of an axis with room beside its first and last tick, whatever has been drawn."""
    low, high = ticks[0], ticks[-1]
    if scale == "log":
        room = (high / low) ** 0.08 if low < high else 2
        return low / room, high * room
    room = 0.08 * (high - low) or 1
    return low - room, high + room


def draw_ours(axes: Axes, points: Points, summary: Summary) -> None:
    """Means with intervals, joined by a line, and the seeds; the state of rows without a mean."""
    levels = [(x, entry.level) for x, entry in points if entry.level]
    means = [level.mean for _, level in levels]
    axes.plot([x for x, _ in levels], means, color=POINT, linewidth=1, zorder=1)
    for x, level in levels:
        draw_estimate(axes, level, x)
        draw_seeds(axes, x, level)
    middle: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "ha": "center"}
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    for x, entry in points:
        if not entry.level:
            axes.text(
                x, 0.5, entry.state, rotation=90, fontsize=8, bbox=ground, va="center", **middle
            )
    baseline = summary.entry(summary.ablation.baseline)
    draw_guide(axes, baseline.level.mean if baseline.level else None, baseline)
    axes.set_ylabel(f"{AP_NAMES[summary.ablation.iou_type]} (%)")


def draw_differences(axes: Axes, points: Points, summary: Summary) -> None:
    """Differences to the reference, paired by seed, with intervals; hollow if inconclusive."""
    for x, entry in points:
        if entry.difference:
            draw_estimate(axes, entry.difference, x, hollow=entry.difference.inconclusive)
            draw_seeds(axes, x, entry.difference)
    axes.axhline(0, color=GUIDE, linewidth=0.8, zorder=0)
    ap = AP_NAMES[summary.ablation.iou_type]
    axes.set_ylabel(f"difference in {ap}\n{fill(summary.to, LABEL)}")


def draw_published(axes: Axes, points: Points, summary: Summary) -> None:
    """The paper's values, joined by a line, on an axis of their own."""
    values = [(x, entry.published) for x, entry in points if entry.published is not None]
    places, levels = [x for x, _ in values], [level for _, level in values]
    axes.plot(places, levels, color=PUBLISHED, linewidth=1, zorder=1)
    axes.scatter(places, levels, label="paper, on COCO", **PAPER)
    baseline = summary.entry(summary.ablation.baseline)
    draw_guide(axes, baseline.published, baseline)
    axes.set_ylabel(f"published {AP_NAMES[summary.ablation.iou_type]} (%)")


def draw_seeds(axes: Axes, place: float, value: Estimate) -> None:
    """The values of the seeds, a little to the right of their mean."""
    figure = axes.get_figure(root=True)
    if figure is None:
        raise ValueError("the axes must belong to a figure")
    beside = axes.transData + ScaledTranslation(0.08, 0, figure.dpi_scale_trans)
    axes.scatter([place] * value.seeds, value.values, transform=beside, **SEED)


def draw_guide(axes: Axes, value: float | None, baseline: Entry) -> None:
    """A dashed line for the baseline, if it has no place on the axis itself."""
    if value is not None and baseline.row.x is None:
        axes.axhline(
            value, color=GUIDE, linestyle="--", linewidth=1, zorder=0, label=baseline.row.label
        )


def titled(figure: Figure, summary: Summary, axes: Sequence[Axes]) -> Figure:
    """Title above and one legend below all panels."""
    figure.suptitle(summary.ablation.title, x=0.01, ha="left", fontsize=10)
    handles: dict[str, Artist] = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=5)
    return figure
