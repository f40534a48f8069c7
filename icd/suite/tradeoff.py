"""Accuracy against cost: what each method gains for the time that it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from icd.suite.ablation import Ablation
from icd.suite.figures import BARS, GUIDE, MARK, POINT, STYLE, save
from icd.suite.results import KINDS, Results
from icd.suite.run import Cost, Kind
from icd.suite.summary import Line, summarise

SHADES = (POINT, "white")  # of rows without and with inheriting


def write_tradeoff(
    ablation: Ablation, results: Results, costs: Mapping[Kind, Cost], outputs: Sequence[Path]
) -> None:
    """Draw the rows whose cost was measured, in the format of each file's suffix."""
    lines = [line for line in summarise(ablation, results, costs).lines if line.cost]
    with mpl.rc_context(STYLE):
        save(draw(ablation, [line for line in lines if line.level]), outputs)


def draw(ablation: Ablation, lines: Sequence[Line]) -> Figure:
    """AP with its interval against the time of a step and against memory."""
    figure = Figure(figsize=(7.6, 3.6), layout="constrained")
    time, memory = figure.subplots(1, 2, sharey=True)
    for axes, what in ((time, "time"), (memory, "memory")):
        for line in lines:
            draw_line(axes, line, getattr(line.cost, what))
        axes.grid(color="0.92", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.margins(x=0.15)
    time.axvline(1, color=GUIDE, linewidth=0.8, zorder=0)
    time.set_xlabel("time of a step, as a ratio to\nstudent's step + teacher's forward pass")
    memory.set_xlabel("memory beyond both models (MiB)")
    time.set_ylabel(f"{KINDS[ablation.kind]}AP (%)")
    figure.suptitle(f"{ablation.title}: accuracy against cost", x=0.01, ha="left", fontsize=10)
    handles = dict(zip(*reversed(time.get_legend_handles_labels()), strict=True))
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
    return figure


def draw_line(axes: Axes, line: Line, cost: float) -> None:
    """A row as a mark with the name of its method beside it."""
    run, level = line.row.runs[0], line.level
    low, high = level.interval or (level.mean, level.mean)
    axes.errorbar(cost, level.mean, [[level.mean - low], [high - level.mean]], **BARS)
    inherits = run.description["inherit"]
    label = "with inheriting" if inherits else "without inheriting"
    axes.scatter(cost, level.mean, facecolor=SHADES[inherits], label=label, **MARK)
    name = line.row.label.split(", ", 1)[-1].removesuffix(" + inheriting")
    axes.annotate(name, (cost, level.mean), (5, 3), textcoords="offset points", fontsize=7)
