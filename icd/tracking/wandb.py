"""Weights & Biases: online, or in a folder that ``wandb sync`` uploads."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.visualization.vis_backend import WandbVisBackend

from icd.tracking.entry import Entry

STEP = "iter"  # as mmengine names it
SECONDS_TO_CONNECT = 30
SECONDS_TO_FINISH = 15  # a stopped training has 30 to save its state and to end (Slurm's KillWait)
OFFLINE = "offline"

# Its reports about itself come from threads that begin again in each data-loading process. There,
# they would take the signals that the process ignores, and end it.
REPORTS = "WANDB_ERROR_REPORTING"


class WandbEntry(WandbVisBackend):
    """mmengine's backend, which continues an entry and goes offline without a connection.

    Curves are drawn over the iteration, not over the number of calls. Code is not uploaded.
    """

    def __init__(self, entry: Entry, start: int | None) -> None:
        del start  # iterations that are done again are shown at their iteration
        by_iteration = [{"name": "*", "step_metric": STEP}]
        super().__init__(entry.folder, define_metric_cfg=by_iteration)
        self.entry, self.is_open = entry, False

    def _init_env(self) -> None:
        os.environ.setdefault(REPORTS, "false")
        import wandb

        self._init_kwargs = self._arguments(wandb.Settings)
        try:
            super()._init_env()
        except wandb.Error as error:
            if self._init_kwargs.get("mode") == OFFLINE:
                raise
            log = MMLogger.get_current_instance()
            log.warning(f"wandb: no connection ({' '.join(str(error).split())}); going offline")
            wandb.teardown()  # its process still waits for this run
            self._init_kwargs["mode"] = OFFLINE
            super()._init_env()
        self.is_open = True
        self._say_where()

    def _arguments(self, settings: Any) -> dict[str, Any]:
        """Arguments of ``wandb.init``; ``settings``: wandb's class."""
        identity = self.entry.known("wandb")
        if identity is None:
            slug = re.sub(r"[^A-Za-z0-9-]", "-", self.entry.name)
            identity = f"{slug}-{secrets.token_hex(4)}"
            self.entry.remember("wandb", identity)
        limits = {"init_timeout": SECONDS_TO_CONNECT, "finish_timeout": SECONDS_TO_FINISH}
        return {
            "id": identity,
            "resume": "allow",
            "name": self.entry.name,
            "project": os.environ.get("WANDB_PROJECT", self.entry.project),
            "tags": self.entry.words,
            "config": {"run": self.entry.parameters},
            # The terminal and the log stay as they are, and wandb ends with the training.
            "settings": settings(console="off", silent=True, finish_timeout_raises=False, **limits),
        }

    def _say_where(self) -> None:
        run = self._wandb.run
        folder = Path(run.settings.sync_dir)
        where = f"`wandb sync {folder}` uploads it" if run.offline else run.url
        MMLogger.get_current_instance().info(f"wandb: {where}")

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Store the config of a training."""
        self.experiment.config.update({"training": config.to_dict()}, allow_val_change=True)

    def add_image(self, name: str, image: Any, step: int = 0, **kwargs: Any) -> None:
        """Store an image [h, w, 3]."""
        self.experiment.log({name: self._wandb.Image(image), STEP: step})

    def add_scalars(
        self, scalar_dict: dict[str, Any], step: int = 0, file_path: object = None, **kwargs: Any
    ) -> None:
        """Store numbers by name."""
        self.experiment.log({**scalar_dict, STEP: step})

    def close(self) -> None:
        """Upload the rest; what is left after some time, ``wandb sync`` uploads."""
        self._finish(0)

    def abort(self) -> None:
        """The same for a session that did not end by itself."""
        self._finish(1)

    def _finish(self, status: int) -> None:
        if self.is_open:
            self.is_open = False
            self._wandb.finish(exit_code=status)
