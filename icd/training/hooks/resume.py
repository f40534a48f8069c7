"""Checkpoints from which a training goes on exactly: whole, verified, and of this very run."""

from __future__ import annotations

import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from icd.files import PREFIX, atomic

KEPT = 2  # checkpoints of a training: the last one, and one in case that is damaged


@HOOKS.register_module()
class ResumableCheckpointHook(CheckpointHook):
    """Writes checkpoints of plain data, whole or not at all, that say which run they are of.

    Args:
        run: the run's id.
        interval: iterations between checkpoints; there is one after the last iteration, too.
    """

    def __init__(self, run: str, interval: int) -> None:
        super().__init__(interval=interval, by_epoch=False)
        self.run = run

    def before_train(self, runner: Runner) -> None:
        """Called by the Runner: what killed processes have left half-written goes."""
        super().before_train(runner)
        work = Path(runner.work_dir)
        if is_main_process():
            for left in (*work.glob(f"{PREFIX}*"), *work.parent.glob(f"{PREFIX}*.pth")):
                left.unlink()

    def save(self, runner: Runner) -> Path:
        """Make sure that the state after the current iteration is saved; its file."""
        self._save_checkpoint(runner)
        return checkpoint_file(Path(runner.work_dir), runner.iter + 1)

    def _save_checkpoint(self, runner: Runner) -> None:
        """Called by mmengine's hook when a checkpoint is due."""
        file = checkpoint_file(Path(runner.work_dir), runner.iter + 1)
        if self.last_ckpt == str(file) or not is_main_process():
            return
        for log in Path(runner.log_dir).glob("vis_data/*.json"):
            with log.open() as stream:  # a checkpoint never knows more than the log on disk
                os.fsync(stream.fileno())
        meta = {"run": self.run, "epoch": runner.epoch, "iter": runner.iter + 1}
        with atomic(file) as temporary:
            runner.save_checkpoint(str(file.parent), temporary.name, meta=meta, by_epoch=False)
        self.last_ckpt = str(file)
        for old in checkpoints(file.parent)[:-KEPT]:
            old.unlink()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Called by the Runner: what it has logged becomes plain data and tensors."""
        hub = checkpoint["message_hub"]
        hub["runtime_info"] = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in hub["runtime_info"].items()
        }
        hub["log_scalars"] = {
            name: tuple(torch.from_numpy(history) for history in buffer.data)
            for name, buffer in hub["log_scalars"].items()
        }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Called by the Runner: tensors become histories again."""
        hub = checkpoint["message_hub"]
        hub["log_scalars"] = {
            name: HistoryBuffer(values.cpu().numpy(), counts.cpu().numpy())
            for name, (values, counts) in hub["log_scalars"].items()
        }


def checkpoint_file(work: Path, iteration: int) -> Path:
    """Where the state after so many iterations is saved."""
    return work / f"iter_{iteration}.pth"


def checkpoints(work: Path) -> list[Path]:
    """The checkpoints of a training, the newest last."""
    return sorted(work.glob("iter_*.pth"), key=iteration_of)


def iteration_of(file: Path) -> int:
    """The iteration that a checkpoint's name says; -1 for a name that is none."""
    number = re.fullmatch(r"iter_(\d+)\.pth", file.name)
    return int(number[1]) if number else -1


@dataclass(frozen=True)
class Found:
    """What there is to resume from.

    file: the newest good checkpoint; None if there is none.
    refused: newer ones, with what is wrong with them.
    """

    file: Path | None
    refused: dict[Path, str]

    def tell(self, runner: Runner) -> None:
        """Write to the log what is used and what is not, and set the latter aside."""
        for file, why in self.refused.items():
            runner.logger.warning(f"{file} {why}: not used, kept as {file.name}.refused")
            if is_main_process():
                file.replace(file.with_name(f"{file.name}.refused"))
        if self.file:
            runner.logger.info(f"resuming from {self.file}")
        elif self.refused:
            runner.logger.warning("no good checkpoint is left: training starts from the beginning")


def find(work: Path, run: str) -> Found:
    """The newest checkpoint in ``work`` that is whole and of this run."""
    refused = {}
    for file in reversed(checkpoints(work)):
        why = problem(file, run)
        if why is None:
            return Found(file, refused)
        refused[file] = why
    return Found(None, refused)


def problem(file: Path, run: str) -> str | None:
    """What is wrong with a checkpoint; None if nothing is. No code in it is executed."""
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()  # PyTorch does not look at the checksums
    except (OSError, zipfile.BadZipFile) as error:
        return f"is no complete checkpoint ({error})"
    if damaged:
        return f"is damaged (in {damaged})"
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        meta = content["meta"]
        theirs, iteration = meta.get("run"), meta["iter"]
    except Exception:  # whatever it is that someone has put there
        return "is no checkpoint of plain data"
    if theirs != run:
        return f"is of another run ({theirs})"
    if iteration != iteration_of(file):
        return f"is of iteration {iteration}"
    return None
