"""Downloads that are whole and what they should be, or not there."""

from __future__ import annotations

import shutil
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from icd.errors import InputError
from icd.files import atomic, sha256

TIMEOUT = 60  # seconds without a byte


def fetch(url: str, digits: str, output: Path) -> None:
    """Download a file and verify it; if it is another, nothing is left of it.

    Args:
        url: where from.
        digits: the first digits of its sha256, or all.
        output: where to.

    Raises:
        InputError: the download failed or gave something else.
    """
    expected = f"a file whose sha256 begins with {digits}"
    with atomic(output) as temporary:
        try:
            with urlopen(url, timeout=TIMEOUT) as reply, temporary.open("wb") as file:
                shutil.copyfileobj(reply, file)
        except (OSError, ValueError, HTTPException) as error:
            problem = f"cannot be downloaded from {url} ({error})"
            raise InputError(output, "", problem, expected) from error
        if found := other_content(temporary, digits):
            raise InputError(output, "", f"{url} gave {found}", expected)


def verify(path: Path, digits: str) -> None:
    """Raise InputError unless the sha256 of a file begins with these digits."""
    expected = f"a file whose sha256 begins with {digits}"
    if not path.is_file():
        raise InputError(path, "", "does not exist", expected)
    if found := other_content(path, digits):
        raise InputError(path, "", f"holds {found}", expected)


def other_content(path: Path, digits: str) -> str:
    """What a file holds whose sha256 does not begin with these digits; nothing if it does."""
    found = sha256(path)
    if found.startswith(digits):
        return ""
    with path.open("rb") as file:
        kind = "a web page" if file.read(256).lstrip().startswith(b"<") else "other content"
    return f"{kind} ({path.stat().st_size} bytes, sha256 {found})"
