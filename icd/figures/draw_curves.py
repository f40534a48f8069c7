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
# Values by panel: in a thick line and, where there is another to compare it with, in a thin one.
DECODER: dict[str, tuple[str, ...]] = {
    "Effective tokens (%)": ("effective",),
    "In boxes; thin: their area (%)": ("inside", "boxes"),
    "Recognised; thin: mistaken (%)": ("recognised", "mistaken"),
}
WIDTHS = (1.3, 0.6)  # of thick and thin lines
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
        sources: the losses, the diagnosis, and the AP of snapshots where the track keeps some.
    """
    tables = {source.stem: pd.read_csv(source) for source in sources}
    labels = {row.id: row.label for row in ablation.choose(ablation.figures["curves"])}
    panels = {title: [table] for title, table in loss_panels(tables["losses"]).items()}
    if "steps" in tables:
        (split,) = set(tables["steps"].split)
        aps = tables["steps"].assign(value=100 * tables["steps"].AP)
        panels[f"AP (%), {split} split"] = [aps]
    panels |= decoder_panels(tables["diagnosis"])
    lines = 1 + len(panels) // 3  # one place is that of the legend
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.8, 1.95 * lines), layout="constrained")
        *places, last = figure.subplots(lines, 3, squeeze=False).flat
        for axes, (title, shown) in zip(places, panels.items(), strict=False):
            for table, width in zip(shown, WIDTHS, strict=False):
                draw_lines(axes, title, table, labels, width)
        for unused in [*places[len(panels) :], last]:
            unused.axis("off")
        handles, names = places[0].get_legend_handles_labels()
        last.legend(handles, names, loc="center left", frameon=False)
        save(figure, outputs)


def loss_panels(losses: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """By title the row, iteration and value of each loss.

    The detection loss is the whole loss without those of the method. Several methods have one
    panel for the sum of their losses of a name, which they precede with their own and a dot.
    """
    wide = losses.pivot_table("value", ["row", "iteration"], "loss", sort=False)
    method = [name for name in wide if name in METHOD or "." in name]
    detection = wide.loss - wide[method].fillna(0).sum(axis=1)
    columns = {"Detection loss": detection}
    for name, title in METHOD.items():
        if same := [own for own in method if own.rpartition(".")[2] == name]:
            columns[title] = wide[same].sum(axis=1, min_count=1)
    return {
        title: column.dropna().rename("value").reset_index() for title, column in columns.items()
    }


def decoder_panels(diagnosis: pd.DataFrame) -> dict[str, list[pd.DataFrame]]:
    """By title the row, iteration and value of each line: in percent, means over layers."""
    panels: dict[str, list[pd.DataFrame]] = {}
    for title, names in DECODER.items():
        tables = []
        for name in names:
            own = diagnosis.filter(regex=rf"^(layer\d+/)?{name}$")
            values = diagnosis[["row", "iteration"]].assign(value=100 * own.mean(axis=1))
            tables.append(values.dropna())
        if len(tables[0]):
            panels[title] = tables
    return panels


def draw_lines(
    axes: Axes,
    title: str,
    table: pd.DataFrame,
    labels: dict[str, str],
    width: float = WIDTHS[0],
) -> None:
    """One line for each row that the table has."""
    for (row, label), style in zip(labels.items(), cycle(STYLES), strict=False):
        mine = table[table.row == row]
        marks: dict[str, Any] = {"marker": "o", "markersize": 3} if len(mine) <= FEW else {}
        if len(mine):
            axes.plot(mine.iteration, mine.value, label=label, linewidth=width, **style, **marks)
    axes.set_title(title, loc="left", fontsize=9)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("iteration")
