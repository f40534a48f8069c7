"""Intervals and orders, against scipy's t-tests, hand-computed values and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from icd.report.statistics import Sample, agreement, difference, estimate, level
from tests.report.small_table import known


def sample(
    *values: float,
    replicates: dict[int | None, NDArray[np.float64]] | None = None,
    single: bool = False,
) -> Sample:
    return Sample(dict(enumerate(values)), replicates or {}, single)


def test_seeds_alone_give_the_paired_t_interval():
    mine, theirs = [30.1, 31.4, 29.0, 30.7], [28.9, 29.1, 28.8, 29.5]
    expected = stats.ttest_rel(mine, theirs).confidence_interval(0.95)
    found = known(difference(sample(*mine), sample(*theirs)))
    assert found.mean == pytest.approx(np.mean(mine) - np.mean(theirs))
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert (found.seeds, found.images) == (4, False)


def test_images_and_seeds_add_up_by_hand():
    values = [2.0, 3.0, 4.0]  # s^2 / n = 1 / 3 with 2 degrees of freedom
    replicates = np.array([[1.0, 5.0]] * 3)  # variance 8 with 1 degree of freedom
    freedom = (25 / 3) ** 2 / ((1 / 3) ** 2 / 2 + 8**2)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(25 / 3)
    found = estimate(values, replicates)
    assert found.interval == pytest.approx((3 - half, 3 + half))
    assert found.images


def test_replicates_are_averaged_over_seeds_before_their_variance():
    """What seeds scatter on their own averages out; what they share does not."""
    opposite = np.array([[1.0, -1.0, 1.0, -1.0], [-1.0, 1.0, -1.0, 1.0]])
    assert estimate([1.0, 1.0], opposite).interval == (1.0, 1.0)
    low, high = known(estimate([1.0, 1.0], np.abs(opposite) * [1, -1, 1, -1]).interval)
    assert high - low > 2


def test_the_degrees_of_freedom_are_those_of_welch():
    """Two parts, each a sample variance: the same as scipy's unpaired Welch test."""
    rng = np.random.default_rng(1)
    one, other = rng.normal(0, 1, 5), rng.normal(0, 2, 9)
    expected = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    # The images' part is the variance of the replicates: that of a mean of nine.
    found = estimate(list(one), (other / 3)[None] * np.ones((5, 1)))
    half = (expected.high - expected.low) / 2
    assert found.interval == pytest.approx((one.mean() - half, one.mean() + half))


def test_one_seed_leaves_the_images():
    replicates = np.random.default_rng(2).normal(0, 0.5, (1, 200))
    found = estimate([1.2], replicates)
    half = stats.t.ppf(0.975, 199) * replicates.std(ddof=1)
    assert found.interval == pytest.approx((1.2 - half, 1.2 + half))
    assert found.seeds == 1


def test_nothing_tells_how_sure_a_lone_value_is():
    found = estimate([1.2], None)
    assert (found.mean, found.interval, found.inconclusive, found.sign) == (1.2, None, False, 0)


@pytest.mark.parametrize(
    ("values", "inconclusive", "sign"),
    [([1.0, 1.1, 0.9], False, 1), ([-1.0, -1.1, -0.9], False, -1), ([1.0, -1.0, 0.5], True, 0)],
)
def test_inconclusive_is_an_interval_that_holds_zero(values, inconclusive, sign):
    found = estimate(values, None)
    low, high = known(found.interval)
    assert found.inconclusive == inconclusive == (low <= 0 <= high)
    assert found.sign == sign


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Three seeds, and an error of the images that all of them share."""
    rng, trials, hits = np.random.default_rng(3), 2000, 0
    for _ in range(trials):
        values = 1.0 + rng.normal(0, 0.3) + rng.normal(0, 0.3, 3)
        images = np.ones((3, 1)) * rng.normal(0, 0.3, 200)
        low, high = known(estimate(list(values), images).interval)
        hits += low <= 1.0 <= high
    assert 0.93 < hits / trials < 0.985


def test_seeds_alone_would_not_cover_it():
    rng = np.random.default_rng(3)
    found = [
        known(estimate(list(1.0 + rng.normal(0, 1.0) + rng.normal(0, 0.1, 3)), None).interval)
        for _ in range(500)
    ]
    assert np.mean([low <= 1.0 <= high for low, high in found]) < 0.4


def test_differences_are_paired_by_seed_and_by_replicate():
    shared = np.random.default_rng(4).normal(0, 3, (3, 50))  # how hard the images are
    rows = [
        Sample(
            {s: v + i for i, s in enumerate((5, 6, 7))},
            {s: r + v for s, r in zip((5, 6, 7), shared, strict=True)},
        )
        for v in (20.0, 18.0)
    ]
    assert known(difference(*rows)).interval == pytest.approx((2.0, 2.0))
    low, high = known(known(level(rows[0])).interval)
    assert high - low > 1


def test_only_common_seeds_are_compared():
    one, other = Sample({0: 5.0, 1: 7.0}), Sample({1: 4.0, 2: 100.0})
    found = known(difference(one, other))
    assert (found.mean, found.seeds, found.interval) == (3.0, 1, None)
    assert difference(one, Sample({2: 1.0})) is None
    assert difference(Sample({}), one) is None
    assert level(Sample({})) is None


def test_a_row_of_one_run_is_compared_with_every_seed():
    teacher = Sample({None: 50.0}, {None: np.array([49.0, 51.0])}, single=True)
    students = sample(10.0, 14.0, replicates={s: np.array([9.0, 11.0]) for s in (0, 1)})
    for one, other, mean in ((teacher, students, 38), (students, teacher, -38)):
        found = known(difference(one, other))
        assert (found.mean, found.seeds, found.images) == (mean, 2, True)


def test_replicates_of_some_seeds_only_are_no_use():
    half = sample(1.0, 2.0, replicates={0: np.array([1.0, 2.0])})
    assert not known(level(half)).images
    assert not known(difference(half, sample(0.0, 0.0))).images


def test_a_replicate_without_objects_does_not_spoil_the_others():
    whole, holed = (
        known(level(sample(1.0, replicates={0: np.array([0.0, 2.0, last])})))
        for last in (1.0, np.nan)
    )
    assert holed.interval == pytest.approx(whole.interval)


def test_order_agrees_as_far_as_kendall_says():
    rows = [sample(a, a + 0.1, a - 0.1) for a in (10.0, 30.0, 20.0, 40.0)]
    found = known(agreement(rows, [1.0, 2.0, 3.0, 4.0]))
    assert (found.rows, found.pairs, found.significant, found.same) == (4, 6, 6, 5)
    assert found.tau == pytest.approx((5 - 1) / 6)


def test_inconclusive_pairs_are_not_counted_as_significant():
    rows = [sample(10.0, 12.0), sample(12.0, 10.5), sample(50.0, 52.0)]
    found = known(agreement(rows, [1.0, 2.0, 3.0]))
    assert (found.pairs, found.significant, found.same) == (3, 2, 2)


def test_two_rows_have_no_order_to_compare():
    assert agreement([sample(1.0), sample(2.0)], [1.0, 2.0]) is None


def test_equal_published_values_have_no_order():
    rows = [sample(1.0), sample(2.0), sample(3.0)]
    assert math.isnan(known(agreement(rows, [1.0, 1.0, 1.0])).tau)
