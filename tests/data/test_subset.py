"""A part of the images: the same everywhere, of the right size, nested, and as good as random."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icd.data.subset import choose, subset

IDS = range(1, 2001)


def test_the_choice_is_the_same_on_every_machine() -> None:
    """Computed with coreutils: for i in 1..20, sha256sum of "0:i", sorted."""
    assert choose(range(1, 21), 0.2, seed=0) == {15, 20, 18, 7}


@given(st.sets(st.integers(0, 10**9), min_size=1), st.floats(0.001, 0.999), st.integers(0, 9))
def test_size_and_order(ids: set[int], fraction: float, seed: int) -> None:
    chosen = choose(ids, fraction, seed)
    assert chosen <= ids
    assert len(chosen) == max(1, round(fraction * len(ids)))
    assert chosen == choose(sorted(ids, reverse=True), fraction, seed)
    assert chosen <= choose(ids, (1 + fraction) / 2, seed), "parts of one seed are nested"


def test_each_image_is_as_likely_as_another() -> None:
    """Over 200 seeds, each of 100 images is chosen about 20 times: 6 standard deviations."""
    counts = [sum(i in choose(range(100), 0.1, seed) for seed in range(200)) for i in range(100)]
    assert sum(counts) == 2000
    assert all(20 - 6 * 18**0.5 < count < 20 + 6 * 18**0.5 for count in counts)
    assert choose(IDS, 0.1, 0) != choose(IDS, 0.1, 1)


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_images_keep_their_annotations_and_order(fraction: float) -> None:
    content: dict[str, Any] = {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in (7, 3, 5, 1, 9)],
        "annotations": [{"id": n, "image_id": i} for n, i in enumerate((3, 7, 7, 9, 1, 5, 3))],
        "categories": [{"id": 2, "name": "dog"}],
    }
    part = subset(content, fraction, seed=3)
    ids = {image["id"] for image in part["images"]}
    assert len(ids) == (1 if fraction == 0.1 else 2)
    assert part["images"] == [image for image in content["images"] if image["id"] in ids]
    kept = [one for one in content["annotations"] if one["image_id"] in ids]
    assert part["annotations"] == kept
    assert part["categories"] == content["categories"]
