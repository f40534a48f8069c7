"""Paired differences and orders, against scipy and hand-computed values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from icd.report.statistics import Sample, agreement, difference, holm, level, taus
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
    rows = [sample(10.0, 12.0), sample(12.0, 10.5), sample(500.0, 502.0)]
    found = known(agreement(rows, [1.0, 2.0, 3.0]))
    assert (found.pairs, found.significant, found.same) == (3, 2, 2)


def test_tau_has_an_interval_over_seeds_and_images():
    rng = np.random.default_rng(3)

    def rows(noise, scatter):
        for mean in (10.0, 20.0, 30.0, 40.0):
            values: dict[int | None, float] = {
                seed: mean + scatter * rng.normal() for seed in range(3)
            }
            yield Sample(values, {s: v + noise * rng.normal(size=400) for s, v in values.items()})

    published = [1.0, 2.0, 3.0, 4.0]
    assert known(agreement([*rows(0, 0)], published)).interval == (1, 1)
    for noise, scatter in ((30, 0), (0, 10)):
        found = [*rows(noise, scatter)]
        low, high = known(known(agreement(found, published)).interval)
        assert low < 1 == high
    first = known(agreement(found, published)).interval
    assert first == known(agreement(found, published)).interval, "the draws are fixed"
    del found[0].replicates[2]
    assert known(agreement(found, published)).interval is None


def test_tau_of_many_orders_is_that_of_scipy():
    rng = np.random.default_rng(5)
    ours, published = rng.integers(0, 5, (20, 6)).astype(float), [1.0, 2.0, 2.0, 5.0, 4.0, 3.0]
    expected = [stats.kendalltau(each, published).statistic for each in ours]
    np.testing.assert_allclose(taus(ours, published), expected)


def test_two_rows_have_no_order_to_compare():
    assert agreement([sample(1.0), sample(2.0)], [1.0, 2.0]) is None


def test_equal_published_values_have_no_order():
    rows = [sample(1.0), sample(2.0), sample(3.0)]
    assert math.isnan(known(agreement(rows, [1.0, 1.0, 1.0])).tau)


def test_holm_by_hand():
    """0.01 <= 0.05 / 4 and 0.012 <= 0.05 / 3, but 0.03 > 0.05 / 2 stops, also before 0.04."""
    assert holm([0.04, 0.01, None, 0.03, 0.012]) == [False, True, False, False, True]
    assert holm([]) == []
    assert holm([None, 0.05]) == [False, True]


def test_a_family_of_equal_rows_rarely_has_any_significant_pair():
    """Four rows without any difference: six pairs, and at most 5 % of tables with a false one."""
    rng, trials = np.random.default_rng(7), 600
    for seeds in (2, 3):
        wrong = 0
        for _ in range(trials):
            rows = []
            for _ in range(4):
                shared = rng.normal(0, 0.3)
                found = (30 + shared + rng.normal(0, 0.6, seeds)).tolist()
                values: dict[int | None, float] = dict(enumerate(found))
                images = rng.normal(0, 0.3, 50)
                rows.append(Sample(values, dict.fromkeys(values, 30 + images)))
            wrong += known(agreement(rows, [1.0, 2.0, 3.0, 4.0])).significant > 0
        assert wrong / trials <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / trials)
