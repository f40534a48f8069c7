"""A tracker that fails ends its tracking, never the training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from numbers import Real
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from mmengine.registry import VISBACKENDS
from mmengine.visualization import Visualizer
from mmengine.visualization.vis_backend import BaseVisBackend

from icd.experiments.run import Run
from icd.experiments.trackers import Tracking
from icd.tracking.entry import Entry, of_run
from icd.tracking.mlflow import MLflowEntry
from icd.tracking.tensorboard import TensorboardEntry
from icd.tracking.wandb import WandbEntry

BACKENDS: dict[str, type[TensorboardEntry | WandbEntry | MLflowEntry]] = {
    "tensorboard": TensorboardEntry,
    "wandb": WandbEntry,
    "mlflow": MLflowEntry,
}


@VISBACKENDS.register_module()
class GuardedBackend(BaseVisBackend):
    """A tracker's backend whose first error is logged once, and then it is left alone.

    Only the main process has a tracker. It connects when it is first used.

    Args:
        tracker: one of ``BACKENDS``.
        entry: the fields of the tracker's :class:`Entry`.
        start: iterations that are done when a training begins or resumes; later ones, if an earlier
            session has tracked them, are done again. None adds to what is there.
        save_dir: what mmengine passes to every backend; trackers use the entry's folder instead.
    """

    def __init__(
        self,
        tracker: str,
        entry: Mapping[str, Any],
        start: int | None = None,
        save_dir: str | None = None,
    ) -> None:
        self.tracker, self.failed = tracker, False
        self.backend = BACKENDS[tracker](Entry(**entry), start)

    @property
    def experiment(self) -> Any:
        """The tracker's own object; what is done with it is not guarded."""
        return self.backend.experiment

    def _init_env(self) -> None:
        """mmengine's backends call this at their first use, and so does ours."""

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Track the config of a training."""
        self.attempt(self.backend.add_config, config)

    def add_image(self, name: str, image: Any, step: int = 0, **kwargs: Any) -> None:
        """Track an RGB image [h, w, 3] of bytes."""
        self.attempt(self.backend.add_image, name, image, step)

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Track a number."""
        self.add_scalars({name: value}, step)

    def add_scalars(
        self, scalar_dict: dict[str, Any], step: int = 0, file_path: object = None, **kwargs: Any
    ) -> None:
        """Track numbers by name; ``step``: the iteration, from 1."""
        numbers = {
            name: float(value) for name, value in scalar_dict.items() if isinstance(value, Real)
        }
        self.attempt(self.backend.add_scalars, numbers, step)

    def close(self) -> None:
        """End the session: what was started is done."""
        self.attempt(self.backend.close)

    def abort(self) -> None:
        """End the session, if it has not ended: it was interrupted, or it failed."""
        self.attempt(self.backend.abort)

    def attempt(self, call: Callable[..., None], *arguments: object) -> None:
        """Call, unless an earlier call has failed."""
        if self.failed or not is_main_process():
            return
        try:
            call(*arguments)
        except Exception as error:
            self.failed = True
            with suppress(Exception):
                self.backend.abort()
            say_failed(self.tracker, error)


def say_failed(tracker: str, error: Exception) -> None:
    """Log that a tracker has failed, and that nothing else has."""
    problem = " ".join(f"{type(error).__name__}: {error}".split())
    MMLogger.get_current_instance().warning(
        f"{tracker} has failed and gets nothing more in this session, which goes on: {problem}"
    )


def visualizer_config(run: Run, tracking: Tracking, done: int) -> dict[str, Any]:
    """Config of mmengine's visualizer: the log that every training has, and the trackers.

    Args:
        run: the run that is trained.
        tracking: the trackers.
        done: iterations that are done.
    """
    entry = asdict(of_run(run, tracking.tables))
    trackers = [
        {
            "type": GuardedBackend.__name__,
            "name": tracker,
            "tracker": tracker,
            "entry": entry,
            "start": done,
        }
        for tracker in tracking.trackers
    ]
    return {"type": "Visualizer", "vis_backends": [{"type": "LocalVisBackend"}, *trackers]}


def abort(visualizer: Visualizer, tracking: Tracking) -> None:
    """End the tracking of a training, unless it has ended with the training."""
    for tracker in tracking.trackers:
        visualizer.get_backend(tracker).abort()
