"""A run that failed says so in its folder, so that tables can say it too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from icd.files import write_json

NAME = "failed.json"


@contextmanager
def recorded(folder: Path) -> Iterator[None]:
    """Leave ``failed.json`` in a run's folder if the block ends with an exception.

    That of an earlier attempt goes when the block starts. An interrupted run has not failed.
    """
    (folder / NAME).unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        with suppress(OSError):  # which may be why it failed
            write_json(folder / NAME, {"error": f"{type(error).__name__}: {error}"})
        raise


def failure(folder: Path) -> str | None:
    """The error with which a run ended, on one line; None if there is none."""
    file = folder / NAME
    if not file.exists():
        return None
    return " ".join(json.loads(file.read_text())["error"].split())
