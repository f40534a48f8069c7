"""Where the gain comes from: what AP50 loses to each type of error, by row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from icd.experiments.ablation import Ablation
from icd.experiments.track import Track
from icd.report.figure import STYLE, save

TYPES = {
    "Cls": "class",
    "Loc": "place",
    "Both": "class\nand place",
    "Dupe": "duplicate",
    "Bkg": "background",
    "Miss": "missed",
}
SUMS = {"FP": "false\npositives", "FN": "false\nnegatives"}
BARS: tuple[dict[str, Any], ...] = (  # from light to dark, and hatched in turn
    {"color": "0.95"},
    {"color": "0.75", "hatch": "////"},
    {"color": "0.55"},
    {"color": "0.3"},
)
WIDTH = 0.8  # of all bars of a type together


def write(
    ablation: Ablation, track: Track, sources: Sequence[Path], outputs: Sequence[Path]
) -> None:
    """Draw the errors of the figure's rows: bars for means, points for seeds.

    Args:
        sources: the table of errors.
    """
    (source,) = sources
    table = pd.read_csv(source)
    labels = {row.id: row.label for row in ablation.choose(ablation.figures["errors"])}
    with mpl.rc_context(STYLE | {"hatch.linewidth": 0.5}):
        figure = Figure(figsize=(6.8, 2.6), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[len(TYPES), len(SUMS)])
        draw_bars(left, table, TYPES, labels)
        draw_bars(right, table, SUMS, labels)
        left.set_ylabel("AP50 lost (points)")
        left.legend(frameon=False, fontsize=8)
        save(figure, outputs)


def draw_bars(
    axes: Axes, table: pd.DataFrame, types: dict[str, str], labels: dict[str, str]
) -> None:
    """A group of bars for each type of error, in it one for each row."""
    width = WIDTH / len(labels)
    for place, (row, look) in enumerate(zip(labels, cycle(BARS), strict=False)):
        for group, error in enumerate(types):
            x = group + (place - (len(labels) - 1) / 2) * width
            seeds = (100 * table[(table.row == row) & (table.error == error)].dAP).tolist()
            bar = axes.bar(x, mean(seeds), width, edgecolor="0.1", linewidth=0.5, **look)
            axes.scatter(
                [x] * len(seeds),
                seeds,
                s=5,
                color="white",
                edgecolor="black",
                linewidth=0.5,
                zorder=3,
            )
        bar.set_label(labels[row])
    axes.set_xticks(range(len(types)), types.values(), fontsize=8)
    axes.tick_params(axis="x", length=0)
