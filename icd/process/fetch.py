"""Verified downloads: a file is either complete and correct, or absent."""

from __future__ import annotations

import shutil
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from icd.errors import InputError
from icd.files import atomic, sha256

TIMEOUT = 60  # seconds without a byte


def fetch(url: str, digits: str, output: Path) -> None:
    """Download a file and verify its sha256. A wrong file is removed.

    Args:
        url: URL of the file.
        digits: the first digits of its sha256, or all.
        output: path to write.

    Raises:
        InputError: the download failed, or the file has another sha256.
    """
    expected = f"a file whose sha256 begins with {digits}"
    with atomic(output) as temporary:
        try:
            with urlopen(url, timeout=TIMEOUT) as reply, temporary.open("wb") as file:
                shutil.copyfileobj(reply, file)
        except (OSError, ValueError, HTTPException) as error:
            problem = f"cannot be downloaded from {url} ({error})"
            raise InputError(output, "", problem, expected) from error
        if wrong := other_content(temporary, digits):
            raise InputError(output, "", f"{url} returned {wrong}", expected)


def verify(path: Path, digits: str) -> None:
    """Raise InputError unless the sha256 of a file begins with these digits."""
    expected = f"a file whose sha256 begins with {digits}"
    if not path.is_file():
        raise InputError(path, "", "does not exist", expected)
    if wrong := other_content(path, digits):
        raise InputError(path, "", f"contains {wrong}", expected)


def other_content(path: Path, digits: str) -> str:
    """Describe a file whose sha256 does not begin with these digits; empty if it does."""
    actual = sha256(path)
    if actual.startswith(digits):
        return ""
    with path.open("rb") as file:
        content = "a web page" if file.read(256).lstrip().startswith(b"<") else "other content"
    return f"{content} ({path.stat().st_size} bytes, sha256 {actual})"
