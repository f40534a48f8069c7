"""What each figure is made from, for the pipeline; nothing heavy is imported here.

Logs and snapshots are not outputs of a rule. In their place the pipeline waits for files that are
written after them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from icd.experiments.ablation import Ablation
from icd.experiments.run import Run
from icd.experiments.snapshots import metrics_file, snapshot_iterations
from icd.experiments.track import Track
from icd.figures.catalogue import folder

DETECTOR = ("model.py", "model.pth")


def first_runs(ablation: Ablation, figure: str) -> list[Run]:
    """The run of the first seed of each row that a figure shows."""
    return [row.runs[0] for row in ablation.choose(ablation.figures[figure])]


def snapshots(run: Run, ablations: Iterable[Ablation], track: Track) -> int:
    """How many snapshots a run leaves: only where some ablation draws its curve."""
    drawn = {
        row.runs[0].id
        for ablation in ablations
        for row in ablation.rows
        if row.runs and row.id in ablation.figures.get("curves", ())
    }
    return track.machine.snapshots if run.id in drawn else 0


def measured(name: str, ablation: Ablation, track: Track) -> list[Path]:
    """The files that a measurement gathers its numbers from."""
    if name == "errors":
        rows = ablation.choose(ablation.figures["errors"])
        return [run.detections(ablation.split) for row in rows for run in row.runs]
    runs = first_runs(ablation, "curves")
    if name in ("losses", "diagnosis"):
        return [run.folder / "model.pth" for run in runs]
    count = track.machine.snapshots
    return [metrics_file(run, i) for run in runs for i in snapshot_iterations(run, count)]


def sources(figure: str, ablation: Ablation, track: Track) -> list[Path]:
    """The files that a figure is drawn from, in the order in which its module takes them."""
    if figure == "attention":
        return [track.results / "data.json"]
    numbers = {"curves": ["losses", "diagnosis"], "errors": ["errors"]}.get(figure, [])
    if figure == "curves" and track.machine.snapshots:
        numbers.append("steps")
    return [folder(track, ablation) / f"{name}.csv" for name in numbers]


def drawn(figure: str, ablation: Ablation) -> list[Path]:
    """What a figure takes from the runs themselves."""
    if figure == "detections":
        return [run.detections(ablation.split) for run in first_runs(ablation, figure)]
    if figure == "attention":
        (run,) = first_runs(ablation, figure)
        teacher = run.sources_by_role.get("teacher")
        detectors = [run, *([teacher] if teacher else [])]
        return [
            run.folder / "method.pth",
            *(o.folder / name for o in detectors for name in DETECTOR),
        ]
    return []
