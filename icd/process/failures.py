"""A step of a run that failed says so in its folder, so that tables can say it too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from icd.files import write_json

TRAINING = "training"  # a step; the others are named by the split that is evaluated
KILLED = "still running, or ended without a word: killed, out of memory, or its machine was lost"


@contextmanager
def recorded(folder: Path, step: str = TRAINING) -> Iterator[None]:
    """Leave a file in a run's folder if the block ends with an exception or is killed.

    That of an earlier attempt goes when the block starts. An interrupted run has not failed.

    Args:
        folder: of the run.
        step: ``TRAINING``, or the split on which it is evaluated.
    """
    record = _record(folder, step)
    with suppress(OSError):
        write_json(record, {"error": KILLED})  # what a killed process leaves
    try:
        yield
    except Exception as error:
        with suppress(OSError):  # which may be why it failed
            write_json(record, {"error": f"{type(error).__name__}: {error}"})
        raise
    finally:
        with suppress(OSError):  # of several processes of a run, another may have been faster
            if _error(record) == KILLED:
                record.unlink()


def failure(folder: Path, split: str) -> str | None:
    """The error that ended a run's training or its evaluation on a split, on one line, or None."""
    for record in (_record(folder, TRAINING), _record(folder, split)):
        if record.exists():
            return " ".join(_error(record).split())
    return None


def _error(record: Path) -> str:
    return json.loads(record.read_text())["error"]


def _record(folder: Path, step: str) -> Path:
    return folder / ("failed.json" if step == TRAINING else f"failed-{step}.json")
