"""Checkpoints that a training resumes from exactly: complete, verified, and of the same run."""

from __future__ import annotations

import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from icd.files import PREFIX, atomic

KEPT = 2  # checkpoints of a training: the last one, and one in case it is damaged


@HOOKS.register_module()
class ResumableCheckpointHook(CheckpointHook):
    """Writes checkpoints atomically, as plain data, with the id of their run.

    Args:
        run: the run's id.
        interval: iterations between checkpoints; the last iteration also writes one.
    """

    def __init__(self, run: str, interval: int) -> None:
        super().__init__(interval=interval, by_epoch=False)
        self.run = run
        self.last_ckpt: str | None

    def before_train(self, runner: Runner) -> None:
        """Remove the half-written files of killed processes."""
        super().before_train(runner)
        work = Path(runner.work_dir)
        if is_main_process():
            for left in (*work.glob(f"{PREFIX}*"), *work.parent.glob(f"{PREFIX}*.pth")):
                left.unlink()

    def save(self, runner: Runner) -> Path:
        """Save the state after the current iteration unless it is saved; return its file."""
        self._save_checkpoint(runner)
        return checkpoint_file(Path(runner.work_dir), runner.iter + 1)

    def _save_checkpoint(self, runner: Runner) -> None:
        """Write a checkpoint; mmengine's hook calls this when one is due."""
        file = checkpoint_file(Path(runner.work_dir), runner.iter + 1)
        if self.last_ckpt == str(file) or not is_main_process():
            return
        for log in Path(runner.log_dir).glob("vis_data/*.json"):
            with log.open() as stream:  # so that the log on disk is never behind the checkpoint
                os.fsync(stream.fileno())
        meta = {"run": self.run, "epoch": runner.epoch, "iter": runner.iter + 1}
        with atomic(file) as temporary:
            runner.save_checkpoint(str(file.parent), temporary.name, meta=meta, by_epoch=False)
        self.last_ckpt = str(file)
        for old in checkpoints(file.parent)[:-KEPT]:
            old.unlink()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Convert the logged histories to plain data and tensors."""
        hub = checkpoint["message_hub"]
        hub["runtime_info"] = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in hub["runtime_info"].items()
        }
        hub["log_scalars"] = {
            name: tuple(torch.from_numpy(history) for history in buffer.data)
            for name, buffer in hub["log_scalars"].items()
        }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Convert the tensors back to histories."""
        hub = checkpoint["message_hub"]
        hub["log_scalars"] = {
            name: HistoryBuffer(values.cpu().numpy(), counts.cpu().numpy())
            for name, (values, counts) in hub["log_scalars"].items()
        }


def checkpoint_file(work: Path, iteration: int) -> Path:
    """The checkpoint file of an iteration."""
    return work / f"iter_{iteration}.pth"


def checkpoints(work: Path) -> list[Path]:
    """The checkpoints of a training, newest last."""
    return sorted(work.glob("iter_*.pth"), key=iteration_of)


def iteration_of(file: Path) -> int:
    """The iteration in a checkpoint's name; -1 if the name has none."""
    number = re.fullmatch(r"iter_(\d+)\.pth", file.name)
    return int(number[1]) if number else -1


@dataclass(frozen=True)
class ResumePoint:
    """Where a training resumes.

    file: the newest good checkpoint; None starts from the beginning.
    refused: newer checkpoints, each with its problem.
    """

    file: Path | None
    refused: dict[Path, str]

    def tell(self, runner: Runner) -> None:
        """Log which checkpoint is used, and set the refused ones aside."""
        for file, problem in self.refused.items():
            runner.logger.warning(f"{file} {problem}: not used, kept as {file.name}.refused")
            if is_main_process():
                file.replace(file.with_name(f"{file.name}.refused"))
        if self.file:
            runner.logger.info(f"resuming from {self.file}")
        elif self.refused:
            runner.logger.warning("no good checkpoint is left: training starts from the beginning")


def resume_point(work: Path, run: str) -> ResumePoint:
    """The newest checkpoint in ``work`` that is complete and of this run."""
    refused: dict[Path, str] = {}
    for file in reversed(checkpoints(work)):
        problem = checkpoint_problem(file, run)
        if problem is None:
            return ResumePoint(file, refused)
        refused[file] = problem
    return ResumePoint(None, refused)


def checkpoint_problem(file: Path, run: str) -> str | None:
    """What is wrong with a checkpoint, or None. No code in it is executed."""
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()  # PyTorch does not check the checksums
    except (OSError, zipfile.BadZipFile) as error:
        return f"is not a complete checkpoint ({error})"
    if damaged:
        return f"is damaged (in {damaged})"
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        meta = content["meta"]
        theirs, iteration = meta.get("run"), meta["iter"]
    except Exception:  # any file may lie there
        return "is not a checkpoint of plain data"
    if theirs != run:
        return f"is of another run ({theirs})"
    if iteration != iteration_of(file):
        return f"is of iteration {iteration}"
    return None
