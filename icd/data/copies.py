"""Images that occur twice: in two splits, or in one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TypedDict


class Copies(TypedDict):
    """Number of images with a copy, and the file name of one."""

    count: int
    example: str


def find_copies(
    images: Mapping[str, Sequence[tuple[str, str]]],
) -> dict[str, dict[str, Copies]]:
    """Images with the same content, by split and by the split that holds the copy.

    Args:
        images: name and sha256 of each image of each split.

    Returns:
        ``{split: {other: copies}}``. For ``other`` = ``split``, an image counts if it repeats an
        earlier one.
    """
    holders: dict[str, set[str]] = defaultdict(set)
    for split, files in images.items():
        for _, digits in files:
            holders[digits].add(split)
    found: dict[str, dict[str, Copies]] = {split: {} for split in images}
    for split, files in images.items():
        seen: set[str] = set()
        for name, digits in files:
            for other in holders[digits] - {split} | ({split} if digits in seen else set()):
                copies = found[split].setdefault(
                    other, {"count": 0, "example": PurePath(name).name}
                )
                copies["count"] += 1
            seen.add(digits)
    return {split: dict(sorted(others.items())) for split, others in found.items()}
