"""A failed step of a run leaves a file in the run's folder, so that tables can report it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icd.files import write_json
from icd.process.attempts import is_running, this_attempt

TRAINING = "training"  # a step; evaluations are named by their split
KILLED = "still running, or ended without a message: killed, out of memory, or its machine was lost"


@contextmanager
def recorded(folder: Path, step: str = TRAINING) -> Iterator[None]:
    """Leave a file in a run's folder if the block raises an exception or is killed.

    The block starts by overwriting the file of an earlier attempt. An interruption by a signal is
    not a failure.

    Args:
        folder: folder of the run.
        step: ``TRAINING``, or the split on which the run is evaluated.
    """
    record, attempt = _record(folder, step), this_attempt()
    with suppress(OSError):
        write_json(record, {"error": KILLED, **attempt})  # stays if the process is killed
    try:
        yield
    except Exception as error:
        with suppress(OSError):  # a full disk may be the reason for the failure
            write_json(record, {"error": f"{type(error).__name__}: {error}", **attempt})
        raise
    finally:
        with suppress(OSError):  # another process of the same run may have removed it
            if _error(record) == KILLED:
                record.unlink()


@dataclass(frozen=True)
class Failure:
    """The record of a step that failed or is under way.

    step: ``TRAINING``, or the split of an evaluation.
    content: its error, and the attempt.
    since: time of the record in seconds since 1970.
    """

    step: str
    content: dict[str, Any]
    since: float

    @property
    def under_way(self) -> bool | None:
        """Whether the step is being carried out; None if nobody can tell on this host."""
        return is_running(self.content) if self.content["error"] == KILLED else False

    @property
    def words(self) -> str:
        """The error on one line, with the Slurm job and the log of the attempt, if known."""
        content = self.content
        job = [f"Slurm job {content['job']} on {content['host']}"] if "job" in content else []
        log = [f"log {content['log']}"] if "log" in content else []
        where = f" ({', '.join(job + log)})" if job or log else ""
        return " ".join(content["error"].split()) + where


def failure(folder: Path, split: str) -> str | None:
    """The error of a run's training, or of its evaluation on a split, on one line; or None.

    It ends with the Slurm job and the log of the attempt that failed, if they are known.
    """
    for step in (TRAINING, split):
        if (record := _record(folder, step)).exists():
            return Failure(step, json.loads(record.read_text()), 0.0).words
    return None


def failures(folder: Path) -> list[Failure]:
    """The records of all steps of a run, its training first."""
    found = []
    for file in (folder / "failed.json", *sorted(folder.glob("failed-*.json"))):
        with suppress(FileNotFoundError):  # there is none, or it has just been removed
            step = file.stem.partition("-")[2] or TRAINING
            content = json.loads(file.read_text())
            found.append(Failure(step, content, file.stat().st_mtime))
    return found


def _error(record: Path) -> str:
    return json.loads(record.read_text())["error"]


def _record(folder: Path, step: str) -> Path:
    return folder / ("failed.json" if step == TRAINING else f"failed-{step}.json")
