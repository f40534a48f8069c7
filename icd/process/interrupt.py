"""Being asked to stop: a training finishes its iteration, saves its state, and says so.

Slurm sends SIGTERM some seconds before SIGKILL, a terminal SIGINT at Ctrl-C. Neither is a failure
of the run. A second signal changes nothing; SIGKILL ends a training at once, which then resumes
from its last checkpoint.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch
from mmdet.registry import HOOKS
from mmengine.dataset import worker_init_fn
from mmengine.dist import all_reduce, barrier, get_rank, is_distributed, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import FUNCTIONS
from mmengine.runner import Runner
from torch import distributed

from icd.training.hooks.resume import ResumableCheckpointHook

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(SystemExit):
    """A signal has ended the work; the process exits with 128 + its number (SIGTERM: 143)."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


@contextmanager
def interruptible(what: str) -> Iterator[None]:
    """Within the block, a signal ends the work cleanly: what was begun to be written goes.

    Args:
        what: is interrupted, for the message.

    Raises:
        Interrupted: at once, but from the iterations of a training only after the current one.
    """

    def stop(number: int, frame: object) -> None:
        tell(f"{what}: interrupted by {name(number)}; the same command continues")
        raise Interrupted(number)

    before = handle(dict.fromkeys(SIGNALS, stop))
    try:
        yield
    finally:
        handle(before)


Handlers = dict[signal.Signals, Callable | int | None]


def handle(handlers: Handlers) -> Handlers:
    """Install handlers of signals; those before them."""
    return {number: signal.signal(number, handler) for number, handler in handlers.items()}


def name(number: int) -> str:
    """E.g. SIGTERM."""
    return signal.Signals(number).name


def tell(line: str) -> None:
    """Print a line on stderr, if somebody still reads it."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


@HOOKS.register_module()
class InterruptHook(Hook):
    """Ends a training between two iterations when its process was asked to stop.

    All processes of a training stop after the same iteration, whichever of them was asked. They ask
    each other on the CPU: the queues of their GPUs go on meanwhile.

    Args:
        run: the run's id, for the message.
    """

    priority = "LOWEST"  # after the checkpoint of this iteration, if there is one

    def __init__(self, run: str) -> None:
        self.run, self.number = run, 0
        self.before: Handlers = {}
        self.group: distributed.ProcessGroup | None = None

    def before_train(self, runner: Runner) -> None:
        """Called by the Runner."""
        self.before = handle(dict.fromkeys(SIGNALS, self.note))
        if is_distributed():
            self.group = distributed.new_group(backend="gloo")

    def note(self, number: int, frame: object) -> None:
        """The handler of signals during training."""
        self.number = self.number or number

    def after_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        """Called by the Runner."""
        number = self.agreed()
        if not number:
            return
        hooks = (hook for hook in runner.hooks if isinstance(hook, ResumableCheckpointHook))
        saved = next(hooks).save(runner)
        barrier()  # the first process that ends takes the others along
        if is_main_process():
            done = f"{runner.iter + 1} of {runner.max_iters} iterations"
            tell(
                f"{self.run}: interrupted by {name(number)} after {done}; "
                f"state saved in {saved}, the same command continues from there"
            )
        handle(self.before)
        raise Interrupted(number)

    def after_train(self, runner: Runner) -> None:
        """Called by the Runner: what follows can be stopped at any moment."""
        handle(self.before)
        if self.number:  # since the last iteration
            raise Interrupted(self.number)

    def agreed(self) -> int:
        """The signal that any process of this training has received; 0 if there is none."""
        if not is_distributed():
            return self.number
        number = torch.tensor(self.number)
        all_reduce(number, op="max", group=self.group)
        return int(number)


@FUNCTIONS.register_module()
def uninterrupted_worker(worker_id: int, num_workers: int, seed: int) -> None:
    """Set up a data-loading process that stops only when its training stops it.

    Signals often go to all processes of a job, and a training whose loaders are gone cannot
    finish its iteration.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=obey, args=[os.getppid()], daemon=True).start()
    worker_init_fn(worker_id, num_workers, get_rank(), seed)


def obey(parent: int) -> None:
    """End this process at a SIGTERM from ``parent``; those from elsewhere are ignored."""
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)
