"""Means over seeds with confidence intervals that cover both seeds and test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

CONFIDENCE = 0.95
POWER = 0.8
SMALLEST_P = 1e-12


@dataclass(frozen=True)
class Spread:
    """How far a mean may be from the truth.

    seeds: number of seeds, n.
    across_seeds: variance of the mean over seeds, s^2 / n; None for one seed.
    over_images: variance of the mean that all seeds share; None without a bootstrap.
    replicates: of the bootstrap.
    """

    seeds: int
    across_seeds: float | None
    over_images: float | None
    replicates: int = 0

    def half_width(self, confidence: float = CONFIDENCE) -> float | None:
        """Half the width of the interval; None if neither variance is known."""
        if self.across_seeds is None and self.over_images is None:
            return None
        seeds = np.float64(self.across_seeds or 0.0)
        images = np.float64(self.over_images or 0.0)
        return float(half_width(seeds, images, self.seeds, self.replicates, confidence))

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return sqrt((self.across_seeds or 0.0) + (self.over_images or 0.0))


def half_width(
    across_seeds: NDArray[np.float64] | np.float64,
    over_images: NDArray[np.float64] | np.float64,
    seeds: int,
    replicates: int,
    confidence: float = CONFIDENCE,
) -> NDArray[np.float64] | np.float64:
    r"""Half the width of the interval of a mean over n seeds.

    .. math::
        h = SE (t_I + (t_S - t_I) \rho^{\sqrt{n / 3}}), \qquad SE^2 = a + b, \qquad \rho = a / SE^2

    with the variances a across seeds and b over images, and the quantiles t_S of Student's t with
    n - 1 and t_I with B - 1 degrees of freedom. An exponent of 1 is Cochran's approximation
    (Biometrics 20, 1964). It covers too little for two seeds and more than needed for many; this
    one covers 94.5 to 95 % or more for 2 to 20 seeds and any a / b. Welch's degrees of freedom
    cover 87 % for two seeds (``benchmarks/coverage.py``).

    Args:
        across_seeds: a; ignored for one seed.
        over_images: b; ignored without replicates.
        seeds: n.
        replicates: B.
    """
    tail = (1 + confidence) / 2
    variance = across_seeds + over_images
    if seeds < 2:
        return special.stdtrit(replicates - 1, tail) * np.sqrt(variance)
    of_seeds = special.stdtrit(seeds - 1, tail)
    of_images = special.stdtrit(replicates - 1, tail) if replicates > 1 else special.ndtri(tail)
    share = np.divide(across_seeds, variance, out=np.ones_like(variance), where=variance > 0)
    return np.sqrt(variance) * (of_images + (of_seeds - of_images) * share ** sqrt(seeds / 3))


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    values: what it is the mean of, one per seed.
    spread: how far it may be from the truth.
    """

    values: tuple[float, ...]
    spread: Spread

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def seeds(self) -> int:
        return len(self.values)

    @property
    def images(self) -> bool:
        """True if the interval includes the sampling of the test images."""
        return self.spread.over_images is not None

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval; None for one seed without a bootstrap."""
        half = self.spread.half_width()
        return None if half is None else (self.mean - half, self.mean + half)

    @cached_property
    def p(self) -> float | None:
        """The smallest p for which the interval of confidence 1 - p excludes 0."""
        if self.interval is None:
            return None
        if self.mean == 0 or self.spread.error == 0:
            return float(self.mean == 0)

        def excess(logarithm: float) -> float:
            half = self.spread.half_width(1 - float(np.exp(logarithm)))
            assert half is not None
            return half - abs(self.mean)

        smallest = np.log(SMALLEST_P)
        if excess(smallest) <= 0:
            return SMALLEST_P
        return float(np.exp(optimize.brentq(excess, smallest, 0.0)))

    @cached_property
    def detectable(self) -> float | None:
        """The smallest true difference that would be significant in 80 % of such experiments.

        It takes the estimated variances for the true ones and counts that another experiment
        would estimate another variance across seeds.
        """
        if self.interval is None:
            return None
        spread, error = self.spread, self.spread.error
        across, over = np.float64(spread.across_seeds or 0), np.float64(spread.over_images or 0)
        draws = np.ones(1)
        if self.seeds > 1:
            levels = (np.arange(1000) + 0.5) / 1000
            draws = stats.chi2.ppf(levels, self.seeds - 1) / (self.seeds - 1)
        halves = half_width(
            across * draws, over * np.ones_like(draws), self.seeds, spread.replicates
        )
        if error == 0:
            return 0.0

        def lack(difference: float) -> float:
            upper = special.ndtr(-((halves - difference) / error))
            lower = special.ndtr((-halves - difference) / error)
            return POWER - float(np.mean(upper + lower))

        return float(optimize.brentq(lack, 0.0, float(np.max(halves)) + 5 * error))

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
    r"""Mean over seeds with its variances.

    Across seeds: :math:`a = s^2 / n`, with the standard deviation s over the n seeds. Over images:
    the variance b that the seeds share, which is the mean covariance of the replicates of two
    seeds. What the images change in one seed alone is in s already. With one seed, b is the
    variance of its replicates.

    Args:
        values: (n,), n >= 1.
        replicates: (n, B), or None.
    """
    n = len(values)
    across = float(np.var(values, ddof=1)) / n if n > 1 else None
    over, count = None, 0
    if replicates is not None:
        count, covariance = replicates.shape[1], np.atleast_2d(np.cov(replicates))
        over = float(np.var(replicates, ddof=1))
        if n > 1:
            over = max(float(covariance.sum() - covariance.trace()) / (n * (n - 1)), 0.0)
    return Estimate(tuple(values), Spread(n, across, over, count))
