"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from icd.errors import InputError

PREFIX = ".writing-"  # of temporary files; those of a process that was killed stay

# A disk that is full, a quota, a limit of file sizes; a folder that may not be written to.
UNWRITABLE = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place only if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Keeps the suffix: libraries choose the file format by it.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=PREFIX, suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        synchronise(temporary)
        temporary.replace(path)
        synchronise(path.parent)  # else the new name may not survive a power loss
    except OSError as error:
        if error.errno in UNWRITABLE and error.filename in (None, name):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def synchronise(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text)


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` atomically as indented JSON; NaN is refused, JSON has none."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_json(path: Path, expected: str) -> dict[str, Any]:
    """The mapping in a JSON file.

    Raises:
        InputError: there is none; says what is ``expected``.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise InputError(path, "", "does not exist", expected) from error
    except ValueError as error:
        raise InputError(path, "", f"is no JSON ({error})", expected) from error
    if not isinstance(content, dict):
        raise InputError(path, "", f"is a {type(content).__name__}", expected)
    return content


def sha256(path: Path) -> str:
    """Hash of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
