"""A training in which one process receives a signal to stop in the third iteration.

Started by torchrun with the arguments of ``python -m icd``.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any
from unittest import mock

from icd.__main__ import main
from icd.training.hooks.losses import LossHook

ASKED, ITERATION = "1", 3  # rank of the process that is asked, and when; iterations from 1

follow = LossHook.after_train_iter


def watched(hook: LossHook, runner: Any, *args: Any, **kwargs: Any) -> None:
    """In place of a hook that all processes have."""
    follow(hook, runner, *args, **kwargs)
    if os.environ["RANK"] == ASKED and runner.iter + 1 == ITERATION:
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    with mock.patch.object(LossHook, "after_train_iter", watched):
        sys.exit(main())
