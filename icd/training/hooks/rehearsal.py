"""The clock of a rehearsal, which is stopped once and resumed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from icd.files import read_json, write_json


class RehearsalHook(Hook):
    """Times every iteration, and sends SIGTERM to its process in the middle of the training.

    Each session of the training appends to ``sessions`` in a JSON file: the iteration that it
    started from (``first``), the ``seconds`` of each iteration, of which ``loading`` were spent
    waiting for images, and the peak memory of the GPU (``gpu_mib``). Only the first session is
    stopped.

    Args:
        file: the JSON file.
    """

    priority = "VERY_LOW"  # before InterruptHook, which obeys the signal after the same iteration

    def __init__(self, file: Path) -> None:
        self.file = file
        self.earlier = read_json(file, "a rehearsal's times")["sessions"] if file.exists() else []
        self.session: dict[str, Any] = {"first": 0, "seconds": [], "loading": []}

    def before_train(self, runner: Runner) -> None:
        """Start the clock."""
        self.session["first"] = runner.iter
        self.end = now()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """The images are there."""
        self.session["loading"].append(time.perf_counter() - self.end)

    def after_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        """Note the time; in the middle of the first session, send the signal."""
        end = now()
        self.session["seconds"].append(end - self.end)
        done, stop = runner.iter + 1, not self.earlier and runner.iter + 1 == runner.max_iters // 2
        if (stop or done == runner.max_iters) and is_main_process():
            self.write()
        if stop:
            os.kill(os.getpid(), signal.SIGTERM)
        self.end = now()

    def write(self) -> None:
        """Write the session behind the earlier ones."""
        if torch.cuda.is_available():
            self.session["gpu_mib"] = torch.cuda.max_memory_reserved() / 2**20
        write_json(self.file, {"sessions": [*self.earlier, self.session]})


def now() -> float:
    """The time in seconds at which the GPU, if there is one, has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
