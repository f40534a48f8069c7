"""Accuracy against cost: AP of each method against its time and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from icd.experiments.ablation import Ablation
from icd.experiments.run import Cost, StepKey
from icd.report.figure import BARS, GUIDE, MARK, POINT, STYLE, save
from icd.report.results import AP_NAMES, Results
from icd.report.summary import Entry, summarise

COSTS = {
    "time": "time of a step, as a ratio to\nstudent's step + teacher's forward pass",
    "memory": "memory beyond both models (MiB)",
}
SHADES = (POINT, "white")  # of rows without and with inheriting


def write_tradeoff(
    ablation: Ablation, results: Results, costs: Mapping[StepKey, Cost], outputs: Sequence[Path]
) -> None:
    """Draw the rows whose cost was measured, in the format of each file's suffix."""
    entries = [entry for entry in summarise(ablation, results, costs).entries if entry.cost]
    with mpl.rc_context(STYLE):
        save(draw(ablation, [entry for entry in entries if entry.level]), outputs)


def draw(ablation: Ablation, entries: Sequence[Entry]) -> Figure:
    """AP with its interval against the time of a step and against memory, for each detector."""
    detectors = list(dict.fromkeys(parts(entry)[0] for entry in entries)) or [""]
    figure = Figure(figsize=(7.6, 2.5 * len(detectors) + 1.1), layout="constrained")
    pairs = figure.subplots(len(detectors), 2, sharey="row", squeeze=False)
    labels = [
        label
        for detector, pair in zip(detectors, pairs, strict=True)
        for label in draw_detector(detector, pair, entries)
    ]
    for axes, what in zip(pairs[-1], COSTS.values(), strict=True):
        axes.set_xlabel(what)
    for time, _ in pairs:
        time.set_ylabel(f"{AP_NAMES[ablation.iou_type]} (%)")
    figure.suptitle(f"{ablation.title}: accuracy against cost", x=0.01, ha="left", fontsize=10)
    handles = dict(zip(*reversed(pairs[0, 0].get_legend_handles_labels()), strict=True))
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
    figure.draw_without_rendering()  # gives labels their place
    for names in labels:
        move_apart(names)
    return figure


def draw_detector(
    detector: str, pair: Sequence[Axes], entries: Sequence[Entry]
) -> list[list[Annotation]]:
    """The rows of a detector, against time and against memory; the labels of each."""
    labels, rows = [], [entry for entry in entries if parts(entry)[0] == detector]
    for axes, what in zip(pair, COSTS, strict=True):
        labels.append([draw_entry(axes, entry, getattr(entry.cost, what)) for entry in rows])
        axes.grid(color="0.92", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.margins(x=0.15)
    pair[0].axvline(1, color=GUIDE, linewidth=0.8, zorder=0)
    pair[0].set_title(detector, loc="left")
    return labels


def parts(entry: Entry) -> tuple[str, str]:
    """Detector and method, of a label like "RetinaNet, CWD + inheriting"."""
    detector, _, method = entry.row.label.rpartition(", ")
    return detector, method.removesuffix(" + inheriting")


def move_apart(labels: Sequence[Annotation]) -> None:
    """Lower labels that would be written over a mark or a higher label, point by point."""
    taken = [mark_of(label) for label in labels]
    for label in sorted(labels, key=lambda label: -label.xy[1]):
        while any(map((box := label.get_window_extent()).overlaps, taken)):
            x, y = label.get_position()
            label.set_position((x, y - 1))
        taken.append(box)


def mark_of(label: Annotation) -> Bbox:
    """The area of the mark that a label names, in pixels of the figure."""
    axes = label.axes
    figure = label.get_figure(root=True)
    if not isinstance(axes, Axes) or figure is None:
        raise ValueError("the label must stand on the axes of a figure")
    x, y = axes.transData.transform(label.xy)
    half = figure.dpi / 72 * MARK["s"] ** 0.5 / 2  # a mark's size is its area in points
    return Bbox([[x - half, y - half], [x + half, y + half]])


def draw_entry(axes: Axes, entry: Entry, cost: float) -> Annotation:
    """A row as a mark with the name of its method beside it, which is returned."""
    run, level = entry.row.runs[0], entry.level
    if level is None:
        raise ValueError(f"the row {entry.row.id} has no AP")
    low, high = level.interval or (level.mean, level.mean)
    axes.errorbar(cost, level.mean, [[level.mean - low], [high - level.mean]], **BARS)
    inherits = bool(run.summary.get("inherit"))
    label = "with inheriting" if inherits else "without inheriting"
    axes.scatter(cost, level.mean, facecolor=SHADES[inherits], label=label, **MARK)
    place = (cost, level.mean)
    return axes.annotate(parts(entry)[1], place, (5, 3), textcoords="offset points", fontsize=7)
