"""Snakemake with a Slurm executor that queries job states every second, at a constant rate."""

from __future__ import annotations

import signal
import sys

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

Executor.next_seconds_between_status_checks = property(
    lambda executor: 1, lambda executor, seconds: None
)

if __name__ == "__main__":
    # Tests that a shell runs in the background ignore Ctrl-C, and so would all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
