"""How often the 95 % intervals of the tables contain the truth: ``python -m benchmarks.coverage``.

Draws docs/coverage.png. Errors are normal. The truth is known, so the estimator of
:mod:`icd.report.intervals` and Welch's degrees of freedom can be compared at any ratio of the
standard deviation over seeds to the standard error over images.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import special

from icd.experiments.yaml_files import ROOT
from icd.report.figure import STYLE, save
from icd.report.intervals import half_width

RATIOS = np.linspace(0, 10, 41)
SEEDS = (2, 3, 5, 10)
REPLICATES = 200
Array = NDArray[np.float64]
HalfWidth = Callable[[Array, Array, int], Array]


def ours(across: Array, over: Array, seeds: int) -> Array:
    """The estimator of the tables."""
    return np.asarray(half_width(across, over, seeds, REPLICATES))


def welch(across: Array, over: Array, seeds: int) -> Array:
    """Student's t with the degrees of freedom of Welch and Satterthwaite."""
    variance = across + over
    freedom = variance**2 / (across**2 / (seeds - 1) + over**2 / (REPLICATES - 1))
    return np.asarray(special.stdtrit(freedom, 0.975) * np.sqrt(variance))


def coverage(method: HalfWidth, seeds: int, ratio: float, trials: int = 200_000) -> float:
    """Share of simulated experiments whose interval contains the truth.

    Args:
        ratio: standard deviation over seeds, in standard errors over images.
    """
    rng = np.random.default_rng(seeds)
    scale = ratio**2 / seeds
    across = scale * rng.chisquare(seeds - 1, trials) / (seeds - 1)
    errors = rng.normal(0, math.sqrt(scale + 1), trials)
    return float(np.mean(np.abs(errors) <= method(across, np.ones(trials), seeds)))


def draw() -> Figure:
    """Coverage against the ratio, for each number of seeds."""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, method, title in zip(
        panels, (welch, ours), ("Welch", "here: Cochran, weighted"), strict=True
    ):
        for seeds, style in zip(SEEDS, ("-", "--", "-.", ":"), strict=True):
            values = [coverage(method, seeds, ratio) for ratio in RATIOS]
            axes.plot(RATIOS, values, style, color="0.15", label=f"{seeds} seeds")
        axes.axhline(0.95, color="0.6", linewidth=0.8, zorder=0)
        axes.set_title(title)
        axes.set_xlabel("standard deviation over seeds /\nstandard error over images")
    panels[0].set_ylabel("coverage of 95 % intervals")
    panels[0].legend()
    return figure


def main(output: Path = ROOT / "docs/coverage.png") -> None:
    """Draw the figure of the docs."""
    with mpl.rc_context(STYLE):
        save(draw(), [output])


if __name__ == "__main__":
    main()
