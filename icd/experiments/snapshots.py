"""Snapshots of a training: the detector at equally spaced iterations, for AP curves."""

from __future__ import annotations

from pathlib import Path

from icd.experiments.run import Run


def snapshot_iterations(run: Run, count: int) -> list[int]:
    """The iterations (counted from 1) after which a run saves a snapshot; includes the last."""
    total = run.iterations
    return sorted({max(1, round(total * part / count)) for part in range(1, count + 1)})


def snapshot_file(run: Run, iteration: int) -> Path:
    """File of the bare detector's weights after an iteration, relative to the project's root.

    It lies with the checkpoints, so a training that starts from scratch removes it with them.
    """
    return run.folder / "work" / "snapshots" / f"iter_{iteration}.pth"


def metrics_file(run: Run, iteration: int) -> Path:
    """File of a snapshot's metrics, relative to the project's root."""
    return run.folder / "steps" / f"{iteration}.json"
