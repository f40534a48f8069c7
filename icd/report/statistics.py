"""Comparisons of rows, paired by seed and test image; agreement of two orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import isnan

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from icd.report.intervals import CONFIDENCE, Estimate, estimate

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
    significant: pairs whose difference is significant, with Holm's correction for all pairs.
    same: significant pairs that have the published order.
    interval: 95 % interval of tau over seeds and images; None without a bootstrap of every row.
    """

    rows: int
    tau: float
    pairs: int
    significant: int
    same: int
    interval: tuple[float, float] | None = None


def agreement(rows: Sequence[Sample], published: Sequence[float]) -> Agreement | None:
    """Compare our order with the published one; None for fewer than three rows."""
    if len(rows) < 3:
        return None
    means = [np.mean(list(row.values.values())) for row in rows]
    pairs = list(combinations(range(len(rows)), 2))
    ours = [difference(rows[i], rows[j]) for i, j in pairs]
    chosen = holm([None if each is None else each.p for each in ours])
    same = [
        bool(np.sign(each.mean) == np.sign(published[i] - published[j]))
        for each, (i, j), significant in zip(ours, pairs, chosen, strict=True)
        if each and significant
    ]
    tau = float(stats.kendalltau(means, published).statistic)
    interval = None if isnan(tau) else tau_interval(rows, published)
    return Agreement(len(rows), tau, len(pairs), len(same), sum(same), interval)


def tau_interval(rows: Sequence[Sample], published: Sequence[float]) -> tuple[float, float] | None:
    """Percentiles of tau under resamplings of the images and of the seeds, the same for all rows.

    Each draw adds the mean deviation of resampled seeds, times sqrt(n / (n - 1)) because resampling
    n of n values varies less than they do, to a replicate over images.
    """
    images = [_stacked(row, list(row.values)) for row in rows]
    stacked = [each.mean(axis=0) for each in images if each is not None]
    if len(stacked) < len(rows):
        return None
    rng = np.random.default_rng(0)
    count = min(len(each) for each in stacked)
    drawn = rng.random((count, max(len(row.values) for row in rows)))
    aps = [
        each[:count] + _resampled(np.array([*row.values.values()]), drawn)
        for row, each in zip(rows, stacked, strict=True)
    ]
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(taus(np.stack(aps, axis=1), published), [tail, 100 - tail])
    return float(low), float(high)


def taus(ours: NDArray[np.float64], published: Sequence[float]) -> NDArray[np.float64]:
    """Kendall's tau-b of each of B orders, (B, rows), with the published one."""
    first, second = np.array([*combinations(range(len(published)), 2)]).T
    theirs = np.sign(np.take(published, first) - np.take(published, second))
    signs = np.sign(ours[:, first] - ours[:, second])
    return np.asarray(signs @ theirs / np.sqrt((signs**2).sum(axis=1) * (theirs**2).sum()))


def _resampled(values: NDArray[np.float64], drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean deviation (B,) of seeds that are chosen by numbers (B, n) in [0, 1); 0 for one seed."""
    if len(values) < 2:
        return np.zeros(len(drawn))
    chosen = (drawn[:, : len(values)] * len(values)).astype(int)
    scale = np.sqrt(len(values) / (len(values) - 1))
    return np.asarray(scale * (values[chosen].mean(axis=1) - values.mean()))


def holm(values: Sequence[float | None], level: float = 1 - CONFIDENCE) -> list[bool]:
    """Which of several hypotheses are rejected if one false rejection has at most this chance.

    Holm, Scandinavian Journal of Statistics 6, 1979: the k smallest of m p-values as long as the
    k-th is at most level / (m - k + 1).

    Args:
        values: p-values; None for a hypothesis that was not tested.
    """
    tested = sorted((p, i) for i, p in enumerate(values) if p is not None)
    rejected = [False] * len(values)
    for rank, (p, i) in enumerate(tested):
        if p > level / (len(tested) - rank):
            break
        rejected[i] = True
    return rejected
