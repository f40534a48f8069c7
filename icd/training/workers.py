"""Data-loading processes: only their training or evaluation ends them."""

from __future__ import annotations

import os
import signal
import threading

from mmengine.dataset import worker_init_fn
from mmengine.dist import get_rank
from mmengine.registry import FUNCTIONS

from icd.process.signals import die_with_parent


@FUNCTIONS.register_module()
def uninterrupted_worker(worker_id: int, num_workers: int, seed: int) -> None:
    """Set up a data-loading process that ignores signals from all but its training.

    Signals often go to all processes of a job. A training that loses its loaders cannot finish its
    iteration.
    """
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=obey, args=[os.getppid()], daemon=True).start()
    worker_init_fn(worker_id, num_workers, get_rank(), seed)


def obey(parent: int) -> None:
    """End this process at a SIGTERM from ``parent``; ignore those from elsewhere."""
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)
