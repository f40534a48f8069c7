"""A signal during a training: finish the iteration, save the state, end the process.

A second signal changes nothing. SIGKILL ends the process at once; the training then resumes from
its last checkpoint.
"""

from __future__ import annotations

from signal import Signals
from types import FrameType

import torch
from mmdet.registry import HOOKS
from mmengine.dist import all_reduce, barrier, is_distributed, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import distributed

from icd.process.signals import SIGNALS, Handler, Interrupted, handle, name, tell
from icd.training.hooks.resume import ResumableCheckpointHook


@HOOKS.register_module()
class InterruptHook(Hook):
    """Ends a training between two iterations after its process received a signal.

    All processes of a training stop after the same iteration, whichever of them received the
    signal. They agree on the CPU, so their GPU queues are not blocked.

    Args:
        run: the run's id, for the message.
    """

    priority = "LOWEST"  # after the checkpoint of this iteration, if there is one

    def __init__(self, run: str) -> None:
        self.run, self.number = run, 0
        self.before: dict[Signals, Handler] = {}
        self.group: distributed.ProcessGroup | None = None

    def before_train(self, runner: Runner) -> None:
        """Install the handlers."""
        self.before = handle(dict.fromkeys(SIGNALS, self.note))
        if is_distributed():
            group = distributed.new_group(backend="gloo")
            assert not isinstance(group, int), "every process is part of it"
            self.group = group

    def note(self, number: int, frame: FrameType | None) -> None:
        """Remember the first signal; the handler during training."""
        self.number = self.number or number

    def after_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        """Save the state and end the process if any process received a signal."""
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
        """Restore the handlers: what follows can be interrupted at any moment."""
        handle(self.before)
        if self.number:  # received since the last iteration
            raise Interrupted(self.number)

    def agreed(self) -> int:
        """The signal that any process of this training received; 0 if there is none."""
        if not is_distributed():
            return self.number
        number = torch.tensor(self.number)
        all_reduce(number, op="max", group=self.group)
        return int(number)
