"""Images that occur twice, against a comparison of all contents."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from icd.data import copies
from icd.data.copies import TAIL, find_copies


@pytest.fixture
def files(tmp_path: Path) -> dict[str, list[Path]]:
    """Files of few sizes and ends in two splits, some with the same content."""
    random = np.random.default_rng(3)
    found: dict[str, list[Path]] = {}
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        found[split] = [tmp_path / split / f"{i}.png" for i in range(30)]
        for path in found[split]:
            start, size, end = random.integers(0, 3, 3)
            path.write_bytes(bytes([start]) + bytes(TAIL + int(size)) + bytes([end]) * TAIL)
    return found


def test_copies_are_those_of_a_comparison_of_all_contents(files: dict[str, list[Path]]) -> None:
    content = {path: path.read_bytes() for paths in files.values() for path in paths}
    found = find_copies(files)
    for split, other in (("train", "test"), ("test", "train")):
        theirs = {content[path] for path in files[other]}
        assert found[split][other]["count"] == sum(content[p] in theirs for p in files[split])
        later = {b for a, b in combinations(files[split], 2) if content[a] == content[b]}
        assert found[split][split]["count"] == len(later)


def test_without_copies_nothing_is_found_and_nothing_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "sha256", None)
    for i in range(5):
        (tmp_path / f"{i}.png").write_bytes(bytes([i]) * 3)  # of one size
    (tmp_path / "empty.png").write_bytes(b"")
    paths = {"train": [tmp_path / f"{i}.png" for i in range(5)], "test": [tmp_path / "empty.png"]}
    assert find_copies(paths) == {"train": {}, "test": {}}


def test_a_file_that_is_listed_twice_is_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"image")
    found = find_copies({"train": [path, path], "test": [path]})
    once, twice = ({"count": n, "example": "a.png"} for n in (1, 2))
    assert found == {"train": {"test": twice, "train": once}, "test": {"train": once}}
