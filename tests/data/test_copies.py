"""Images that occur twice, against a comparison of all pairs."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from icd.data.copies import find_copies


def test_copies_are_those_of_a_comparison_of_all_pairs() -> None:
    random = np.random.default_rng(3)
    images = {
        split: [(f"{i}.png", str(digits)) for i, digits in enumerate(random.integers(0, 25, 30))]
        for split in ("train", "test")
    }
    found = find_copies(images)
    for split, other in (("train", "test"), ("test", "train")):
        ours, theirs = ([digits for _, digits in images[name]] for name in (split, other))
        assert found[split][other]["count"] == sum(digits in theirs for digits in ours)
        later = {j for (i, a), (j, b) in combinations(enumerate(ours), 2) if a == b}
        assert found[split][split]["count"] == len(later)


def test_without_copies_nothing_is_found() -> None:
    images = {"train": [("a/0.png", "a"), ("1.png", "b")], "test": [("0.png", "c")]}
    assert find_copies(images) == {"train": {}, "test": {}}


def test_a_file_that_is_listed_twice_is_a_copy() -> None:
    found = find_copies({"train": [("x/a.png", "1")] * 2, "test": [("x/a.png", "1")]})
    once, twice = ({"count": n, "example": "a.png"} for n in (1, 2))
    assert found == {"train": {"test": twice, "train": once}, "test": {"train": once}}
