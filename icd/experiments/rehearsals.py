"""What rehearsals of a track's kinds of runs have measured, by kind and machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from icd.experiments.base import Model, validate
from icd.experiments.kind import rehearsal_of
from icd.experiments.run import Run, TrainedRun
from icd.experiments.track import Track
from icd.files import read_json


class Rehearsed(Model):
    """The rehearsal of a kind on one machine."""

    machine: str = Field(description="names of its GPUs, or of its processor")
    gpus: int = Field(description="number of GPUs used; 0 for the CPU")
    data: str = Field(description="real or random")
    failure: str | None = Field(None, description="what failed, on one line; None if all passed")
    log: str = Field(description="path of the log")
    seconds_per_iteration: float | None = Field(None, description="median after warm-up")
    loading: float | None = Field(None, description="share of the time spent waiting for images")
    gpu_mib: float | None = Field(None, description="peak memory of a GPU in MiB")
    host_mib: float | None = Field(None, description="peak memory of all processes in MiB")
    iterations: list[float] = Field(
        default_factory=list, description="seconds of each iteration, with the warm-up"
    )


Rehearsal = Mapping[str, Rehearsed]  # by id of the kind


def folder(track: Track) -> Path:
    """The folder of a track's rehearsals."""
    return track.results / "rehearsal"


def file_of(track: Track, kind: str) -> Path:
    """The file with the rehearsals of a kind."""
    return folder(track) / "kinds" / f"{kind}.json"


def read_rehearsed(file: Path) -> dict[str, Rehearsed]:
    """The rehearsals of a kind by machine; empty if the file does not exist.

    Raises:
        InputError: the file has other content.
    """
    if not file.exists():
        return {}
    content = read_json(file, "the rehearsals of a kind, made by icd rehearse")
    return {name: validate(Rehearsed, one, file, (name,)) for name, one in content.items()}


def measured(track: Track) -> Rehearsal:
    """The slowest rehearsal of each kind that passed with the track's number of GPUs."""
    found: dict[str, Rehearsed] = {}
    for file in sorted((folder(track) / "kinds").glob("*.json")):
        passed = [
            one
            for one in read_rehearsed(file).values()
            if one.failure is None and one.seconds_per_iteration and one.gpus == track.machine.gpus
        ]
        if passed:
            found[file.stem] = max(passed, key=lambda one: one.seconds_per_iteration or 0.0)
    return found


def rehearsed(run: Run, rehearsal: Rehearsal) -> Rehearsed | None:
    """The rehearsal of a run's kind; None if there is none."""
    return rehearsal.get(rehearsal_of(run).id) if isinstance(run, TrainedRun) else None
