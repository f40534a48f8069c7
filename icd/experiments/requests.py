"""What the trainings of a plan request on a cluster: walltime, memory and GPUs by kind of run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from icd.experiments.kind import Kind, kinds
from icd.experiments.rehearsals import Rehearsal
from icd.experiments.run import Run, TrainedRun
from icd.experiments.track import Track
from icd.experiments.walltime import origin, training_memory, training_minutes


@dataclass(frozen=True)
class Request:
    """What one training requests, for all runs that request the same.

    kind: the runs in words.
    runs: number of runs.
    origin: where walltime and memory come from.
    """

    kind: str
    runs: int
    minutes: int
    memory: int
    gpus: int
    origin: str


def requests(track: Track, runs: Iterable[Run], rehearsal: Rehearsal) -> list[Request]:
    """The requests of trainings. Kinds that were not rehearsed share a line."""
    groups: dict[tuple, list[tuple[Kind, TrainedRun]]] = {}
    for kind in kinds(runs):
        for run in kind.runs:
            minutes = training_minutes(run, track.machine, rehearsal)
            memory = training_memory(run, track.machine, rehearsal, annotation_bytes(track, run))
            name = kind.id if kind.id in rehearsal else None
            key = (name, minutes, memory, track.machine.gpus, origin(run, rehearsal))
            groups.setdefault(key, []).append((kind, run))
    return [Request(_words(group), len(group), *key[1:]) for key, group in groups.items()]


def annotation_bytes(track: Track, run: Run) -> int:
    """Size of the annotation file that a run is trained on; 0 if it does not exist yet."""
    file = track.annotations(run.split)
    return file.stat().st_size if file.is_file() else 0


def _words(group: list[tuple[Kind, TrainedRun]]) -> str:
    """The kind of all runs of a group, or how many kinds they are."""
    labels = dict.fromkeys(kind.label for kind, _ in group)
    return next(iter(labels)) if len(labels) == 1 else f"{len(labels)} kinds"
