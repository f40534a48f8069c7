"""Figures, drawn from the raw numbers; readable in grey."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from icd.files import atomic
from icd.suite.ablation import Ablation
from icd.suite.results import KINDS, per_seed

STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "icd",  # the same numbers give the same file
    "svg.fonttype": "none",
}
BAR, POINT, PUBLISHED = "0.72", "0.15", "0.35"


def write_figure(ablation: Ablation, results: pd.DataFrame, outputs: Sequence[Path]) -> None:
    """Draw AP per row: bars for the means, points for the seeds, diamonds for the paper."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 0.5 * len(ablation.rows) + 1.3), layout="constrained")
        draw_bars(figure.subplots(), ablation, per_seed(results, "AP", ablation.kind))
        save(figure, outputs)


def save(figure: Figure, outputs: Sequence[Path]) -> None:
    """Write a figure in the format of each file's suffix; equal figures give equal bytes."""
    for output in outputs:
        with atomic(output) as temporary:
            metadata = {"Date": None} if output.suffix == ".svg" else None
            figure.savefig(temporary, dpi=200, metadata=metadata)


def draw_bars(axes: Axes, ablation: Ablation, values: dict[str, list[float]]) -> None:
    """Horizontal bars in the order of the table, first row on top."""
    for place, row in enumerate(ablation.rows):
        seeds = values.get(row.id)
        if not seeds:
            continue  # the detector does not find what the figure shows
        axes.barh(place, mean(seeds), height=0.62, color=BAR, zorder=1)
        axes.scatter(seeds, [place] * len(seeds), s=16, color=POINT, zorder=3, label="one seed")
        if row.published:
            axes.scatter(
                row.published["AP"],
                place,
                marker="D",
                s=24,
                facecolor="white",
                edgecolor=PUBLISHED,
                zorder=2,
                label="paper, on COCO",
            )
        axes.annotate(
            f"{mean(seeds):.1f}",
            (mean(seeds), place + 0.31),
            xytext=(-3, 1),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=8,
        )
    axes.set_yticks(range(len(ablation.rows)), [row.label for row in ablation.rows])
    axes.invert_yaxis()
    axes.set_xlabel(f"{KINDS[ablation.kind]}AP (%)")
    axes.set_title(ablation.title, loc="left", fontsize=10)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(handles.values(), handles.keys(), frameon=False, fontsize=8, loc="best")
