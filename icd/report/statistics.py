"""Confidence intervals across seeds and over test images; agreement of two orders."""

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
        single: True if one run stands for all seeds (one teacher for all students).
    """

    values: dict[Seed, float]
    replicates: dict[Seed, NDArray[np.float64]] = field(default_factory=dict)
    single: bool = False


@dataclass(frozen=True)
class Estimate:
    """A mean and its confidence interval, which is None for one seed without a bootstrap.

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
    def inconclusive(self) -> bool:
        """True if the interval contains 0."""
        return self.interval is not None and self.interval[0] <= 0 <= self.interval[1]

    @property
    def sign(self) -> int:
        """-1 or 1 for a significant mean, else 0."""
        if self.interval is None or self.inconclusive:
            return 0
        return 1 if self.mean > 0 else -1


def estimate(values: Sequence[float], replicates: NDArray[np.float64] | None) -> Estimate:
    r"""Mean over seeds with its 95 % confidence interval.

    .. math::
        SE^2 = s^2 / n + \mathrm{var}_b(\bar r_b), \qquad \bar x \pm t_{0.975, \nu} SE

    where s is the standard deviation over the n seeds and r the mean over seeds in replicate b of
    B. The degrees of freedom are those of Welch and Satterthwaite,

    .. math::
        \nu = SE^4 / ((s^2 / n)^2 / (n - 1) + \mathrm{var}_b^2 / (B - 1)).

    With one seed the interval covers the images only, without replicates the seeds only. The
    interaction of seeds and images counts in both parts, so the interval is slightly too wide.

    Args:
        values: (n,), n >= 1.
        replicates: (n, B), or None.
    """
    n = len(values)
    parts: list[tuple[float, int]] = []  # variance and degrees of freedom
    if n > 1:
        parts.append((float(np.var(values, ddof=1)) / n, n - 1))
    if replicates is not None:
        over_seeds = replicates.mean(axis=0)
        parts.append((float(np.var(over_seeds, ddof=1)), len(over_seeds) - 1))
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
    """Mean of the differences paired by seed, over common seeds; None if there is none.

    Runs of one seed share their teacher, and all runs share the test images, so the effect of both
    cancels. A row of one run for all seeds is compared with every seed of the other.
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

    A replicate without any object gets the mean of the others, so that it has no effect.
    """
    if any(seed not in row.replicates for seed in seeds):
        return None
    stacked = np.stack([row.replicates[seed] for seed in seeds])
    return np.where(np.isnan(stacked), np.nanmean(stacked, axis=1, keepdims=True), stacked)


@dataclass(frozen=True)
class Agreement:
    """Our order of some rows beside the published one.

    tau: Kendall's tau-b of the means; NaN if all are equal.
    pairs: of rows.
    significant: pairs whose difference is significant.
    same: significant pairs that have the published order.
    """

    rows: int
    tau: float
    pairs: int
    significant: int
    same: int


def agreement(rows: Sequence[Sample], published: Sequence[float]) -> Agreement | None:
    """Compare our order with the published one; None for fewer than three rows."""
    if len(rows) < 3:
        return None
    means = [np.mean(list(row.values.values())) for row in rows]
    signs = []
    for i, j in combinations(range(len(rows)), 2):
        ours = difference(rows[i], rows[j])
        signs.append((ours.sign if ours else 0, np.sign(published[i] - published[j])))
    significant = [(our, their) for our, their in signs if our]
    tau = float(stats.kendalltau(means, published).statistic)
    same = sum(bool(our == their) for our, their in significant)
    return Agreement(len(rows), tau, len(signs), len(significant), same)
