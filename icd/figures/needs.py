"""What each picture is made from, for the pipeline; nothing heavy is imported here.

Logs and snapshots are no outputs of a rule: what is asked for in their place are the files that are
written after them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from icd.experiments.ablation import Ablation
from icd.experiments.run import Run
from icd.experiments.snapshots import metrics_file, snapshot_iterations
from icd.experiments.track import Track
from icd.figures.kinds import ATTENTION, COMPARED, CURVES, DRAWINGS, ROWS

DETECTOR = ("model.py", "model.pth")


def folder(track: Track) -> Path:
    """Where the pictures of a track and their numbers lie."""
    return track.results / "pictures"


def drawings(ablation: Ablation) -> list[str]:
    """The pictures of whose rows none is absent."""
    absent = {row.id for row in ablation.rows if row.absent}
    return [kind for kind in DRAWINGS if absent.isdisjoint(ROWS[kind])]


def first_runs(ablation: Ablation, ids: Iterable[str]) -> list[Run]:
    """The run of the first seed of each of these rows."""
    return [row.runs[0] for row in ablation.choose(ids)]


def snapshots(run: Run, ablation: Ablation, track: Track) -> int:
    """How many snapshots a run leaves: only where its curve is drawn."""
    drawn = [row.runs[0].id for row in ablation.rows if row.runs and row.id in CURVES]
    return track.machine.snapshots if run.id in drawn else 0


def measured(kind: str, ablation: Ablation, track: Track) -> list[Path]:
    """What the numbers of a kind are gathered from."""
    if kind == "errors":
        rows = ablation.choose(COMPARED)
        return [run.detections() for row in rows for run in row.runs]
    runs = first_runs(ablation, CURVES)
    if kind == "losses":
        return [run.folder / "model.pth" for run in runs]
    count = track.machine.snapshots
    return [metrics_file(run, i) for run in runs for i in snapshot_iterations(run, count)]


def sources(kind: str, track: Track) -> list[Path]:
    """The files that a picture is drawn from by name."""
    if kind == "attention":
        return [track.results / "data.json"]
    numbers = {"curves": ["losses"], "errors": ["errors"]}.get(kind, [])
    if kind == "curves" and track.machine.snapshots:
        numbers.append("steps")
    return [folder(track) / f"{name}.csv" for name in numbers]


def drawn(kind: str, ablation: Ablation) -> list[Path]:
    """What a picture takes from the runs themselves."""
    if kind == "detections":
        return [run.detections() for run in first_runs(ablation, COMPARED)]
    if kind == "attention":
        (run,) = first_runs(ablation, ATTENTION)
        detectors = [one.folder / name for one in (run, run.teacher) for name in DETECTOR]
        return [run.folder / "method.pth", *detectors]
    return []
