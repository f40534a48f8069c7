"""Intervals against scipy's t-tests, hand-computed values and simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.coverage import Array, coverage, ours
from icd.report.intervals import CONFIDENCE, estimate, half_width
from tests.report.small_table import known

RATIOS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)


def narrower(across: Array, over: Array, seeds: int) -> Array:
    """Intervals 5 % narrower than those of the tables."""
    return 0.95 * ours(across, over, seeds)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_intervals_cover_the_truth_as_often_as_they_say(seeds: int) -> None:
    """The error of the mean and its estimated variance are independent for normal values."""
    found = {ratio: coverage(ours, seeds, ratio) for ratio in RATIOS}
    assert min(found.values()) >= 0.945, found
    assert min(coverage(narrower, seeds, ratio) for ratio in RATIOS) < 0.945, (
        "they could be narrower"
    )


def test_simulated_experiments_are_covered() -> None:
    """Three seeds; images shift all seeds together, and each seed alone."""
    rng, trials, hits = np.random.default_rng(3), 1500, 0
    for _ in range(trials):
        values = 1.0 + rng.normal(0, 0.3) + rng.normal(0, 0.3, 3) + rng.normal(0, 0.2, 3)
        shared, alone = rng.normal(0, 0.3, 200), rng.normal(0, 0.2, (3, 200))
        low, high = known(estimate(list(values), shared + alone).interval)
        hits += low <= 1.0 <= high
    assert 0.935 < hits / trials < 0.985


def test_seeds_alone_would_not_cover_the_images() -> None:
    rng = np.random.default_rng(3)
    found = [
        known(estimate(list(1.0 + rng.normal(0, 1.0) + rng.normal(0, 0.1, 3)), None).interval)
        for _ in range(500)
    ]
    assert np.mean([low <= 1.0 <= high for low, high in found]) < 0.4


def test_without_images_it_is_the_t_interval() -> None:
    values = [30.1, 31.4, 29.0, 30.7]
    expected = stats.ttest_1samp(values, 30.0)
    found = estimate([value - 30.0 for value in values], None)
    interval = expected.confidence_interval(0.95)
    assert found.interval == pytest.approx((interval.low - 30, interval.high - 30))
    assert found.p == pytest.approx(expected.pvalue)


def test_images_and_seeds_add_up_by_hand() -> None:
    values = [2.0, 3.0, 4.0]  # s^2 / n = 1 / 3
    replicates = np.array([[1.0, 5.0, 3.0]] * 3)  # variance 4
    of_seeds, of_images = stats.t.ppf(0.975, 2), stats.t.ppf(0.975, 2)
    assert of_seeds == of_images, "so the share of the seeds does not matter"
    half = of_seeds * math.sqrt(1 / 3 + 4)
    found = estimate(values, replicates)
    assert found.interval == pytest.approx((3 - half, 3 + half))
    assert found.images


def test_three_seeds_are_cochrans_approximation() -> None:
    """Snedecor and Cochran: the t-values weighted with their variances."""
    a, b, replicates = 0.7, 0.2, 200
    weighted = a * stats.t.ppf(0.975, 2) + b * stats.t.ppf(0.975, replicates - 1)
    found = half_width(np.float64(a), np.float64(b), 3, replicates)
    assert found == pytest.approx(weighted / (a + b) * math.sqrt(a + b))


def test_images_count_as_far_as_seeds_share_their_effect() -> None:
    """What the images change in one seed alone is in the standard deviation over seeds."""
    opposite = np.array([[1.0, -1.0, 1.0, -1.0], [-1.0, 1.0, -1.0, 1.0]])
    assert estimate([1.0, 1.0], opposite).interval == (1.0, 1.0)
    together = estimate([1.0, 1.0], np.abs(opposite) * [1, -1, 1, -1])
    assert together.spread.over_images == pytest.approx(4 / 3)
    rng = np.random.default_rng(0)
    shared, alone = rng.normal(0, 1.0, 200_000), rng.normal(0, 2.0, (4, 200_000))
    assert estimate([1.0] * 4, shared + alone).spread.over_images == pytest.approx(1.0, rel=0.05)


def test_one_seed_leaves_the_images() -> None:
    replicates = np.random.default_rng(2).normal(0, 0.5, (1, 200))
    found = estimate([1.2], replicates)
    half = stats.t.ppf(0.975, 199) * replicates.std(ddof=1)
    assert found.interval == pytest.approx((1.2 - half, 1.2 + half))
    assert found.seeds == 1


def test_nothing_tells_how_sure_a_lone_value_is() -> None:
    found = estimate([1.2], None)
    assert (found.mean, found.interval, found.inconclusive, found.sign) == (1.2, None, False, 0)
    assert (found.p, found.detectable) == (None, None)


@pytest.mark.parametrize(
    ("values", "inconclusive", "sign"),
    [([1.0, 1.1, 0.9], False, 1), ([-1.0, -1.1, -0.9], False, -1), ([1.0, -1.0, 0.5], True, 0)],
)
def test_inconclusive_is_an_interval_that_holds_zero(
    values: list[float], inconclusive: bool, sign: int
) -> None:
    found = estimate(values, None)
    low, high = known(found.interval)
    assert found.inconclusive == inconclusive == (low <= 0 <= high)
    assert found.sign == sign
    assert (known(found.p) > 1 - CONFIDENCE) == inconclusive


def test_p_is_where_the_interval_ends_at_zero() -> None:
    replicates = np.random.default_rng(5).normal(0, 0.4, (1, 200)) * np.ones((3, 1))
    found = estimate([1.0, 1.4, 0.7], replicates)
    half = known(found.spread.half_width(1 - known(found.p)))
    assert half == pytest.approx(found.mean, rel=1e-6)
    assert known(estimate([-1.0, -1.4, -0.7], replicates).p) == pytest.approx(known(found.p))


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_the_detectable_difference_is_found_in_80_percent_of_experiments(seeds: int) -> None:
    """Simulated with the variances that the estimate takes for the true ones."""
    rng, trials = np.random.default_rng(6), 200_000
    values = [10.0] if seeds == 1 else list(10.0 + 0.4 * np.arange(seeds))
    found = estimate(values, rng.normal(0, 0.3, (1, 200)) * np.ones((seeds, 1)))
    across = found.spread.across_seeds or 0.0
    over = known(found.spread.over_images)
    drawn: Any = np.full(trials, across)
    if seeds > 1:
        drawn = across * rng.chisquare(seeds - 1, trials) / (seeds - 1)
    means = rng.normal(known(found.detectable), math.sqrt(across + over), trials)
    halves = half_width(drawn, np.full(trials, over), seeds, 200)
    assert np.mean(np.abs(means) > halves) == pytest.approx(0.8, abs=0.01)
