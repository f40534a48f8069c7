"""Verified downloads: a file is either complete and correct, or absent."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.request import urlopen

from icd.errors import InputError
from icd.files import atomic, sha256
from icd.progress import counted

TIMEOUT = 60  # seconds without a byte
MEGABYTE = 10**6


def fetch(url: str, digits: str, output: Path) -> None:
    """Download a file and verify its sha256. A wrong file is removed.

    Args:
        url: URL of the file.
        digits: the first digits of its sha256, or all; empty if they are unknown.
        output: path to write.

    Raises:
        InputError: the download failed or is incomplete, or the file has another sha256.
    """
    expected = _expected(digits)
    with atomic(output) as temporary:
        try:
            with urlopen(url, timeout=TIMEOUT) as reply, temporary.open("wb") as file:
                size = reply.headers.get("Content-Length")
                for part in _parts(reply, size, output.name):
                    file.write(part)
        except (OSError, ValueError, HTTPException) as error:
            problem = f"cannot be downloaded from {url} ({error})"
            raise InputError(output, "", problem, expected) from error
        wrong = other_content(temporary, digits)
        if not wrong and size is not None and temporary.stat().st_size != int(size):
            wrong = f"{temporary.stat().st_size} of {size} bytes"
        if wrong:
            raise InputError(output, "", f"{url} returned {wrong}", expected)


def _parts(reply: BinaryIO, size: str | None, name: str) -> Iterator[bytes]:
    """A download megabyte by megabyte, with lines of progress."""
    parts = iter(lambda: reply.read(MEGABYTE), b"")
    total = None if size is None else -(-int(size) // MEGABYTE)
    return counted(parts, total, f"MB of {name} downloaded")


def verify(path: Path, digits: str) -> None:
    """Raise InputError unless the sha256 of a file begins with these digits."""
    expected = _expected(digits)
    if not path.is_file():
        raise InputError(path, "", "does not exist", expected)
    if wrong := other_content(path, digits):
        raise InputError(path, "", f"contains {wrong}", expected)


def _expected(digits: str) -> str:
    return f"a file whose sha256 begins with {digits}" if digits else "a file of weights"


def other_content(path: Path, digits: str) -> str:
    """Describe a web page, or a file whose sha256 does not begin with these digits; else empty."""
    actual = sha256(path)
    with path.open("rb") as file:
        page = file.read(256).lstrip().startswith(b"<")
    if actual.startswith(digits) and not (page and not digits):
        return ""
    content = "a web page" if page else "other content"
    return f"{content} ({path.stat().st_size} bytes, sha256 {actual})"
