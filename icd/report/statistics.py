"""Comparisons of rows, paired by seed and test image; agreement of two orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

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
    pairs = list(combinations(range(len(rows)), 2))
    ours = [difference(rows[i], rows[j]) for i, j in pairs]
    chosen = holm([None if each is None else each.p for each in ours])
    same = [
        bool(np.sign(each.mean) == np.sign(published[i] - published[j]))
        for each, (i, j), significant in zip(ours, pairs, chosen, strict=True)
        if each and significant
    ]
    tau = float(stats.kendalltau(means, published).statistic)
    return Agreement(len(rows), tau, len(pairs), len(same), sum(same))


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
