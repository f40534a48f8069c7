"""Files that are either complete or absent."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

PREFIX = ".writing-"  # prefix of temporary files; a killed process leaves one behind

_umask = os.umask(0)  # reading sets it, which other threads would notice: hence once, at the import
os.umask(_umask)
MODE = 0o666 & ~_umask  # permissions of new files; a group shares results by `umask 002`

# Disk full, quota or file-size limit reached; folder read-only or without permission.
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
    """A temporary file beside ``path`` that replaces it only if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Keeps the suffix, because libraries choose the file format by it.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=PREFIX, suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(MODE)
        synchronise(temporary)
        temporary.replace(path)
        synchronise(path.parent)  # without this, a power loss may lose the new name
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


def write_json(path: Path, content: Any, compact: bool = False) -> None:
    """Write ``content`` atomically as indented JSON. NaN is an error, because JSON has none.

    ``compact`` puts each short mapping or list on one line, see :func:`compact_json`.
    """
    text = compact_json(content) if compact else json.dumps(content, indent=1, allow_nan=False)
    write_text(path, text + "\n")


def compact_json(content: Any, width: int = 100, levels: int = 2) -> str:
    """JSON that is easy to skim: only the outer levels have one item per line.

    Args:
        content: plain data without NaN.
        width: mappings and lists that fit into this number of characters stay on one line.
        levels: number of nesting levels that may be broken into lines. Deeper levels stay on one
            line, however long.
    """
    return _compact(content, width, levels, "", 0)


def _compact(content: Any, width: int, levels: int, indent: str, used: int) -> str:
    """``used``: number of characters of a key and a comma on the line of ``content``."""
    line = json.dumps(content, allow_nan=False)
    fits = len(indent) + used + len(line) <= width
    if fits or not levels or not content or not isinstance(content, dict | list):
        return line
    if isinstance(content, dict):
        (first, last), items = "{}", [(f"{json.dumps(key)}: ", content[key]) for key in content]
    else:
        (first, last), items = "[]", [("", value) for value in content]
    inner = indent + " "
    lines = [
        inner + key + _compact(value, width, levels - 1, inner, len(key) + len(","))
        for key, value in items
    ]
    return "\n".join([first, ",\n".join(lines), indent + last])


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table atomically as CSV, unrounded."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False)


def read_json(path: Path, expected: str) -> dict[str, Any]:
    """The mapping in a JSON file.

    Raises:
        InputError: the file does not contain a mapping. The message says what is ``expected``.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise InputError(path, "", "does not exist", expected) from error
    except ValueError as error:
        raise InputError(path, "", f"is not valid JSON ({error})", expected) from error
    if not isinstance(content, dict):
        raise InputError(path, "", f"is a {type(content).__name__}", expected)
    return content


def require_file(path: Path, origin: str) -> Path:
    """Return ``path`` if it exists.

    Args:
        path: path of the file.
        origin: what creates the file, for the error message.

    Raises:
        InputError: the file is missing.
    """
    if not path.exists():
        raise InputError(path, "", "does not exist", origin)
    return path


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
