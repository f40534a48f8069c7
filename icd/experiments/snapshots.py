"""Snapshots of a training: the detector at equally spaced iterations, for its AP over time."""

from __future__ import annotations

from pathlib import Path

from icd.experiments.run import Run


def snapshot_iterations(run: Run, count: int) -> list[int]:
    """The iterations, from 1, after which a run leaves its snapshots; the last one included."""
    total = run.iterations
    return sorted({max(1, round(total * part / count)) for part in range(1, count + 1)})


def snapshot_file(run: Run, iteration: int) -> Path:
    """Weights of the bare detector after so many iterations, relative to the project's root.

    They lie with the checkpoints, so that a training which starts anew takes them along.
    """
    return run.folder / "work" / "snapshots" / f"iter_{iteration}.pth"


def metrics_file(run: Run, iteration: int) -> Path:
    """Metrics of a snapshot, relative to the project's root."""
    return run.folder / "steps" / f"{iteration}.json"
