"""TensorBoard: event files in a folder per entry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.visualization.vis_backend import TensorboardVisBackend

from icd.tracking.entry import Entry


class TensorboardEntry(TensorboardVisBackend):
    """mmengine's backend, which continues an entry without showing iterations twice."""

    def __init__(self, entry: Entry, start: int | None) -> None:
        super().__init__(str(Path(entry.folder, "tensorboard", entry.name)))
        self.entry, self.start = entry, start

    def _init_env(self) -> None:
        super()._init_env()
        if self.start is not None:
            self._hide_later(self.start + 1 if self.start else 0)

    def _hide_later(self, step: int) -> None:
        """Tell TensorBoard to forget what earlier sessions wrote from this step on."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        restart = SessionLog(status=SessionLog.START)
        self._tensorboard.file_writer.add_event(Event(session_log=restart), step)

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Write tags and the config as texts, once for each training."""
        if not self.start:
            lines = [f"| {name} | {value} |" for name, value in self.entry.tags.items()]
            table = "\n".join(["| tag | value |", "|---|---|", *lines])
            self.experiment.add_text("tags", table)
            super().add_config(config)

    def abort(self) -> None:
        """Write what is not written yet."""
        self.close()
