"""Progress as whole lines on stderr, a few seconds apart, so that log files stay readable."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

SECONDS_BETWEEN_LINES = 10.0

T = TypeVar("T")


def counted(items: Iterable[T], total: int | None, what: str) -> Iterator[T]:
    """The items; prints how many have been taken, e.g. ``2,000 of 5,000 images read``.

    Nothing is printed for what takes less than :data:`SECONDS_BETWEEN_LINES`.

    Args:
        items: of any kind.
        total: their number, if it is known.
        what: what they are and what is done, e.g. ``images read``.
    """
    last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            of = "" if total is None else f" of {total:,}"
            print(f"{done:,}{of} {what}", file=sys.stderr, flush=True)
