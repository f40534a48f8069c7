"""Class frequencies and sizes of a data set, against a hand-made example and pandas."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from icd.data.priors import Priors, compute_priors


def random_instances(count: int, classes: int, seed: int = 0) -> list[tuple[int, float, float]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    sizes = rng.uniform(0.01, 0.9, (count, 2))
    return [(int(c), float(w), float(h)) for c, (w, h) in zip(labels, sizes, strict=True)]


def test_an_example_by_hand() -> None:
    priors = compute_priors([(0, 0.1, 0.5), (2, 0.2, 0.2), (0, 0.3, 0.9), (0, 0.2, 0.4)], 3)
    assert priors.frequency == [0.75, 0.0, 0.25]
    assert priors.size_mean == [[0.2, 0.6], [0.0, 0.0], [0.2, 0.2]]
    # Deviations -0.1, 0.1, 0 and -0.1, 0.3, -0.2, divided by the number of instances.
    assert priors.size_std[0] == pytest.approx([math.sqrt(0.02 / 3), math.sqrt(0.14 / 3)], abs=1e-6)
    assert priors.size_std[1:] == [[0.0, 0.0], [0.0, 0.0]]


def test_equal_to_a_groupby() -> None:
    instances = random_instances(500, 7)
    priors = compute_priors(instances, 7)
    table = pd.DataFrame(instances, columns=["label", "w", "h"])
    groups = table.groupby("label")[["w", "h"]]
    np.testing.assert_allclose(priors.frequency, table.label.value_counts(normalize=True)[range(7)])
    np.testing.assert_allclose(priors.size_mean, groups.mean(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(priors.size_std, groups.std(ddof=0), rtol=0, atol=1e-6)


def test_frequencies_sum_to_one() -> None:
    assert sum(compute_priors(random_instances(333, 11), 13).frequency) == pytest.approx(1.0)


def test_order_of_instances_does_not_matter() -> None:
    instances = random_instances(200, 4)
    assert compute_priors(instances, 4) == compute_priors(instances[::-1], 4)


def test_a_class_number_is_not_a_string() -> None:
    """Eleven classes: sorted as strings, 10 would come before 2 and take its place."""
    instances = [(label, label / 20 + 0.01, 0.5) for label in range(11) for _ in range(label + 1)]
    priors = compute_priors(instances, 11)
    assert priors.frequency == pytest.approx([(label + 1) / 66 for label in range(11)])
    assert [mean[0] for mean in priors.size_mean] == pytest.approx(
        [label / 20 + 0.01 for label in range(11)]
    )


def test_instances_may_come_from_a_generator() -> None:
    instances = random_instances(50, 3)
    assert compute_priors((instance for instance in instances), 3) == compute_priors(instances, 3)


def test_fields_are_plain_data() -> None:
    """A configuration file holds them and gives back the same priors."""
    fields = asdict(compute_priors(random_instances(50, 3), 3))
    assert all(type(value) is float for value in fields["frequency"])
    assert all(type(x) is float for key in ("size_mean", "size_std") for x in fields[key][0])
    assert Priors(**fields) == compute_priors(random_instances(50, 3), 3)


def test_no_instances_is_an_error() -> None:
    with pytest.raises(ValueError, match="no instances"):
        compute_priors([], 3)
