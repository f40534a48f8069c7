"""What the trainings of a plan request on a cluster: walltime, memory and GPUs by kind of run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from icd.experiments.kind import kinds
from icd.experiments.rehearsals import Rehearsal
from icd.experiments.run import DecoderRun, Run, Training
from icd.experiments.track import Track
from icd.experiments.walltime import origin, training_memory, training_minutes

DECODER = "a decoder alone"  # costs less than its students, so it is not rehearsed


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
    runs = list(runs)
    trainings: list[tuple[str, str, Training]] = [
        (kind.label, kind.id, run) for kind in kinds(runs) for run in kind.runs
    ]
    trainings += [(DECODER, DECODER, run) for run in runs if isinstance(run, DecoderRun)]
    groups: dict[tuple, list[str]] = {}
    for label, kind, run in trainings:
        minutes = training_minutes(run, track.machine, rehearsal)
        memory = training_memory(run, track.machine, rehearsal, annotation_bytes(track, run))
        name = kind if kind in rehearsal else None
        key = (name, minutes, memory, track.machine.gpus, origin(run, rehearsal))
        groups.setdefault(key, []).append(label)
    return [Request(_words(labels), len(labels), *key[1:]) for key, labels in groups.items()]


def annotation_bytes(track: Track, run: Run) -> int:
    """Size of the annotation file that a run is trained on; 0 if it does not exist yet."""
    file = track.annotations(run.split)
    return file.stat().st_size if file.is_file() else 0


def _words(labels: list[str]) -> str:
    """The kind of all runs of a group, or how many kinds they are."""
    count = len({*labels})
    return labels[0] if count == 1 else f"{count} kinds"
