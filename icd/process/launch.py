"""Launch a run in several processes, one per GPU. torchrun starts the same command in each."""

from __future__ import annotations

import os
from collections.abc import Sequence


def launch(count: int, argv: Sequence[str]) -> int:
    """Run ``python -m icd`` with these arguments in ``count`` processes; returns the exit status.

    SIGTERM is passed on to the processes. If one of them fails, the others are stopped.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main

    # The processes share the CPU cores of the run.
    threads = max(int(os.environ.get("OMP_NUM_THREADS", "1")) // count, 1)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        main(["--standalone", "--nproc-per-node", str(count), "-m", "icd", *argv])
    except ChildFailedError as error:
        status = error.get_first_failure()[1].exitcode
        return status if status > 0 else 128 - status
    except SignalException as error:
        return 128 + int(error.sigval)
    return 0
