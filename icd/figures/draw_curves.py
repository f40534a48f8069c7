"""Losses and AP over the course of training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from icd.experiments.ablation import Ablation
from icd.experiments.track import Track
from icd.report.figure import STYLE, save

METHOD = {
    "loss_identification": "Identification loss",
    "loss_localisation": "Localisation loss",
    "loss_distillation": "Distillation loss",
}
FEW = 12  # points, up to which each is marked: one alone makes no line
STYLES: tuple[dict[str, Any], ...] = (  # of the rows in turn
    {"color": "0.55", "linestyle": "--"},
    {"color": "0.1", "linestyle": "-"},
    {"color": "0.35", "linestyle": ":"},
    {"color": "0.7", "linestyle": "-."},
)


def write(
    ablation: Ablation, track: Track, sources: Sequence[Path], outputs: Sequence[Path]
) -> None:
    """Draw the curves of the figure's rows.

    Args:
        sources: the losses, and the AP of snapshots where the track keeps some.
    """
    losses, *steps = (pd.read_csv(source) for source in sources)
    labels = {row.id: row.label for row in ablation.choose(ablation.figures["curves"])}
    panels = loss_panels(losses)
    for table in steps:
        (split,) = set(table.split)
        panels[f"AP (%), {split} split"] = table.assign(value=100 * table.AP)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.8, 3.9), layout="constrained")
        *places, last = figure.subplots(2, 3).flat
        for axes, (title, table) in zip(places, panels.items(), strict=False):
            draw_lines(axes, title, table, labels)
        for unused in [*places[len(panels) :], last]:
            unused.axis("off")
        handles, names = places[0].get_legend_handles_labels()
        last.legend(handles, names, loc="center left", frameon=False)
        save(figure, outputs)


def loss_panels(losses: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """By title the row, iteration and value of each loss.

    The detection loss is the whole loss without those of the method.
    """
    wide = losses.pivot_table("value", ["row", "iteration"], "loss", sort=False)
    method = [name for name in METHOD if name in wide]
    detection = wide.loss - wide[method].fillna(0).sum(axis=1)
    columns = {"Detection loss": detection} | {METHOD[name]: wide[name] for name in method}
    return {
        title: column.dropna().rename("value").reset_index() for title, column in columns.items()
    }


def draw_lines(axes: Axes, title: str, table: pd.DataFrame, labels: dict[str, str]) -> None:
    """One line for each row that the table has."""
    for (row, label), style in zip(labels.items(), cycle(STYLES), strict=False):
        mine = table[table.row == row]
        marks: dict[str, Any] = {"marker": "o", "markersize": 3} if len(mine) <= FEW else {}
        if len(mine):
            axes.plot(mine.iteration, mine.value, label=label, linewidth=1.3, **style, **marks)
    axes.set_title(title, loc="left", fontsize=9)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("iteration")
