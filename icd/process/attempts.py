"""An attempt to carry out a step of a run: the process, its Slurm job and its log.

Locks, records of failures and messages name it, so that a user finds what to wait for, end or read.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import psutil

LOG = "ICD_LOG"  # workflow/scripts/attempt.sh sets it


def this_attempt() -> dict[str, Any]:
    """Host, process and start of this attempt; its Slurm job and its log, if there are any."""
    attempt = {"host": socket.gethostname(), "pid": os.getpid(), "since": now()}
    job, node = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURMD_NODENAME")
    if job:
        attempt |= {"job": job, "host": node or attempt["host"]}
    if log := os.environ.get(LOG):
        attempt["log"] = log
    return attempt


def describe(attempt: Mapping[str, Any]) -> str:
    """An attempt in words, e.g. ``process 34 on n1 (Slurm job 12), since ..., log ...``.

    Raises:
        KeyError: the mapping is not of an attempt.
    """
    job = f" (Slurm job {attempt['job']})" if "job" in attempt else ""
    log = f", log {attempt['log']}" if "log" in attempt else ""
    return f"process {attempt['pid']} on {attempt['host']}{job}, since {attempt['since']}{log}"


def is_running(attempt: Mapping[str, Any]) -> bool | None:
    """Whether the process of an attempt is still there; None if it is on another host."""
    if attempt.get("host") != socket.gethostname():
        return None
    return psutil.pid_exists(int(attempt["pid"]))


def now() -> str:
    """The current time in a readable form."""
    return datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
