"""The figure of a table by object size and class: a gain for each, marked if significant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from icd.experiments.ablation import Ablation
from icd.report.breakdown import significant
from icd.report.figure import STYLE, save
from icd.report.results import AP_NAMES, Results

CELL, MARGIN = 0.34, 2.4  # inches of a row, and beside and below the cells
WIDE, NARROW = 0.54, 0.18  # inches of a column with numbers and with signs
DIGITS = 12  # columns up to which cells show their numbers
DARK = 0.6  # of the largest gain: the ground is too dark for black digits


def write_breakdown(ablation: Ablation, results: Results, outputs: Sequence[Path]) -> None:
    """Draw the gains of an ablation's rows by size and class; an empty frame if none is known."""
    with mpl.rc_context(STYLE):
        save(draw_breakdown(ablation, results), outputs)


def draw_breakdown(ablation: Ablation, results: Results) -> Figure:
    """A map of gains, rows by sizes and classes; classes by the mean of their gains.

    Significant gains (Holm's correction over the row's sizes or classes) are bold; with many
    columns, only their signs are shown.
    """
    frames = [results.parts[kind].dropna(subset="gain") for kind in ("size", "class")]
    if all(frame.empty for frame in frames):
        figure = Figure(figsize=(4, 1))
        figure.text(0.5, 0.5, "no gains by class were measured", ha="center", va="center")
        return figure
    tables = [_table(frame, "gain") for frame in frames]
    rows = [row for row in ablation.rows if any(row.id in table.index for table in tables)]
    counts = [max(table.shape[1], 1) for table in tables]
    widths = [count * (WIDE if count <= DIGITS else NARROW) for count in counts]
    height = CELL * len(rows) + MARGIN
    figure = Figure(figsize=(sum(widths) + MARGIN + 1, height), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True, width_ratios=widths)
    limit = max(float(np.nanmax(np.abs(table.to_numpy(float)))) for table in tables if table.size)
    for axes, frame in zip(panels, frames, strict=True):
        _draw_gains(axes, frame, [row.id for row in rows], limit)
    panels[0].set_yticks(range(len(rows)), [row.label for row in rows])
    label = f"gain in {AP_NAMES[ablation.iou_type]}"
    figure.colorbar(panels[0].images[0], ax=panels, label=label)
    figure.suptitle(f"{ablation.title}: gains by size and class (bold: significant)", fontsize=10)
    return figure


def _draw_gains(axes: Axes, frame: pd.DataFrame, rows: list[str], limit: float) -> None:
    """One map; a cell without a gain is empty."""
    gains = _table(frame, "gain").reindex(rows)
    values = gains.to_numpy(float)
    bold = _table(frame.assign(bold=significant(frame)), "bold").reindex(rows).to_numpy()
    axes.imshow(values, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_xticks(range(gains.shape[1]), gains.columns, rotation=60, ha="right")
    few = gains.shape[1] <= DIGITS
    for (i, j), value in np.ndenumerate(values):
        marked = bool(bold[i, j] == 1)
        if np.isnan(value) or not (few or marked):
            continue
        sign = "+" if value > 0 else "-"
        color = "white" if abs(value) > DARK * limit else "black"
        weight = "bold" if marked else "normal"
        text = f"{value:+.1f}" if few else sign
        axes.text(j, i, text, ha="center", va="center", weight=weight, color=color)


def _table(frame: pd.DataFrame, value: str) -> pd.DataFrame:
    """Rows by parts; sizes in their order, classes by their mean gain."""
    kind = frame.columns[2]
    order = frame.groupby(kind, sort=False)["gain"].mean()
    if kind == "class":
        order = order.sort_values(ascending=False)
    return frame.pivot(index="row", columns=kind, values=value)[list(order.index)]
