"""One process at a time, across all that share a folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Wait until no other process is within such a block for ``file``, which need not exist."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as stream:
        with suppress(OSError):  # a file system without locks
            fcntl.lockf(stream, fcntl.LOCK_EX)
        yield
