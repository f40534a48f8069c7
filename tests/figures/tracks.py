"""The mini track for tests that read and write in the current folder."""

from __future__ import annotations

from pathlib import Path

from icd.experiments.track import Track, load_track
from tests.experiments.track_files import laid_over


def track(snapshots: int = 6) -> Track:
    """The mini track with its data in ``data`` and so many snapshots of a training."""
    mini = load_track("mini", data_root=Path("data"))
    return laid_over(mini, {"machine": {"snapshots": snapshots}})
