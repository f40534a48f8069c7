"""How sure a difference is: over seeds and over test images. Orders and their agreement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
Seed = int | None  # None: of a checkpoint from elsewhere


@dataclass(frozen=True)
class Sample:
    """AP of a row.

    Args:
        values: by seed.
        replicates: by seed, (B,) each: AP under the same B resamplings of the test images.
        single: one run stands for all seeds (one teacher for all students).
    """

    values: dict[Seed, float]
    replicates: dict[Seed, NDArray[np.float64]] = field(default_factory=dict)
    single: bool = False


@dataclass(frozen=True)
class Estimate:
    """A mean and its confidence interval, which is None if nothing tells how sure the mean is.

    values: what it is the mean of, one per seed.
    images: the interval includes the sampling of the test images.
    """

    values: tuple[float, ...]
    interval: tuple[float, float] | None
    images: bool

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def seeds(self) -> int:
        return len(self.values)

    @property
    def undecided(self) -> bool:
        """True if the interval contains 0."""
        return self.interval is not None and self.interval[0] <= 0 <= self.interval[1]

    @property
    def sign(self) -> int:
        """Of a decided mean -1 or 1, else 0."""
        return 0 if self.interval is None or self.undecided else (1 if self.mean > 0 else -1)


def estimate(values: Sequence[float], replicates: NDArray[np.float64] | None) -> Estimate:
    r"""Mean over seeds with its 95 % confidence interval.

    .. math::
        SE^2 = s^2 / n + \mathrm{var}_b(\bar r_b), \qquad \bar x \pm t_{0.975, \nu} SE

    where s is the standard deviation over the n seeds, r the mean over seeds in replicate b of B,
    and the degrees of freedom are those of Welch and Satterthwaite,

    .. math::
        \nu = SE^4 / ((s^2 / n)^2 / (n - 1) + \mathrm{var}_b^2 / (B - 1)).

    One seed leaves the images alone, no replicates the seeds alone. What seeds and images have in
    common (a seed that suits some images) stands in both parts: the interval is a little wide.

    Args:
        values: (n,), n >= 1.
        replicates: (n, B), or None.
    """
    n, parts = len(values), []
    if n > 1:
        parts.append((np.var(values, ddof=1) / n, n - 1))
    if replicates is not None:
        over_seeds = replicates.mean(axis=0)
        parts.append((np.var(over_seeds, ddof=1), len(over_seeds) - 1))
    mean, interval = float(np.mean(values)), None
    if parts:
        variance = float(sum(part for part, _ in parts))
        spread = sum(part**2 / freedom for part, freedom in parts)
        freedom = variance**2 / spread if spread else inf
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * sqrt(variance)
        interval = (mean - half, mean + half)
    return Estimate(tuple(values), interval, replicates is not None)


def level(row: Sample) -> Estimate | None:
    """AP of a row; None if it has none."""
    seeds = list(row.values)
    return estimate(list(row.values.values()), _stacked(row, seeds)) if seeds else None


def difference(row: Sample, other: Sample) -> Estimate | None:
    """Mean of the differences seed by seed, over the seeds that both have; None if there is none.

    Runs of one seed share their teacher, and all share the test images: what is common drops out.
    A row of one run for all seeds is compared with every seed of the other.
    """
    pairs = _pairs(row, other)
    if not pairs:
        return None
    mine, theirs = (list(seeds) for seeds in zip(*pairs, strict=True))
    values = [row.values[a] - other.values[b] for a, b in pairs]
    one, two = _stacked(row, mine), _stacked(other, theirs)
    return estimate(values, None if one is None or two is None else one - two)


def _pairs(row: Sample, other: Sample) -> list[tuple[Seed, Seed]]:
    if row.single or other.single:
        return [(mine, theirs) for mine in row.values for theirs in other.values]
    return [(seed, seed) for seed in row.values if seed in other.values]


def _stacked(row: Sample, seeds: list[Seed]) -> NDArray[np.float64] | None:
    """Replicates of these seeds, (n, B); None unless all have some.

    A replicate without any object is left out by giving it the mean of the others.
    """
    if any(seed not in row.replicates for seed in seeds):
        return None
    found = np.stack([row.replicates[seed] for seed in seeds])
    return np.where(np.isnan(found), np.nanmean(found, axis=1, keepdims=True), found)


@dataclass(frozen=True)
class Agreement:
    """Our order of some rows beside the published one.

    tau: Kendall's tau-b of the means, NaN where all are equal.
    pairs: of rows; decided: those whose difference our intervals decide; same: those of the decided
        that the paper orders in the same way.
    """

    rows: int
    tau: float
    pairs: int
    decided: int
    same: int


def agreement(rows: Sequence[Sample], published: Sequence[float]) -> Agreement | None:
    """Compare our order with the published one; None for fewer than three rows."""
    if len(rows) < 3:
        return None
    means = [np.mean(list(row.values.values())) for row in rows]
    signs = []
    for i, j in combinations(range(len(rows)), 2):
        found = difference(rows[i], rows[j])
        signs.append((found.sign if found else 0, np.sign(published[i] - published[j])))
    decided = [(ours, theirs) for ours, theirs in signs if ours]
    tau = float(stats.kendalltau(means, published).statistic)
    same = sum(bool(ours == theirs) for ours, theirs in decided)
    return Agreement(len(rows), tau, len(signs), len(decided), same)
