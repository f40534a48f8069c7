"""Images that occur twice: in two splits, or in one."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypedDict

from icd.files import sha256

READERS = 8  # threads, because files may lie on a network
TAIL = 1024  # bytes at the end of a file, which differ between almost all images


class Place(NamedTuple):
    """An image of a split."""

    split: str
    path: Path


class Copies(TypedDict):
    """Number of images with a copy, and the file name of one."""

    count: int
    example: str


def find_copies(paths: Mapping[str, Sequence[Path]]) -> dict[str, dict[str, Copies]]:
    """Images with the same content, by split and by the split that holds the copy.

    Contents are compared only where size and end of the file are equal, so few files are read.

    Args:
        paths: image files of each split, which must exist.

    Returns:
        ``{split: {other: copies}}``. For ``other`` = ``split``, an image counts if it repeats an
        earlier one.
    """
    groups = [[Place(split, path) for split, files in paths.items() for path in files]]
    for key in (os.path.getsize, _tail, sha256):
        groups = _divided(groups, key)
    found: dict[str, dict[str, Copies]] = {split: {} for split in paths}
    for group in groups:
        splits = {place.split for place in group}
        seen: set[str] = set()
        for split, path in group:
            others = splits - {split} | ({split} & seen)
            for other in others:
                copies = found[split].setdefault(other, {"count": 0, "example": path.name})
                copies["count"] += 1
            seen.add(split)
    return {split: dict(sorted(others.items())) for split, others in found.items()}


def _divided(groups: list[list[Place]], key: Callable[[Path], Hashable]) -> list[list[Place]]:
    """The groups divided by a key of each file; files that are alone are left out."""
    parts: dict[Hashable, list[Place]] = defaultdict(list)
    with ThreadPoolExecutor(READERS) as pool:
        for i, group in enumerate(groups):
            for place, value in zip(group, pool.map(key, (p.path for p in group)), strict=True):
                parts[i, value].append(place)
    return [part for part in parts.values() if len(part) > 1]


def _tail(path: Path) -> bytes:
    with path.open("rb") as stream:
        stream.seek(-min(TAIL, path.stat().st_size), os.SEEK_END)
        return stream.read()
