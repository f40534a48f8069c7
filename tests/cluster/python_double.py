"""Replaces ``python`` in the jobs of test_slurm.py: runs it, and records its node and GPUs.

Files in the folder ``$ICD_TEST_PLAN`` control the training of a run:

- ``<run>.fail``: the training fails at once, with the exit status in the file.
- ``<run>.lost``: there is no Python on the node where the training starts first.
- ``<run>.pause``: the training pauses after its first checkpoint until it is told to end or
  ``<run>.go`` exists, so a test need not guess its speed. Meanwhile, ``<run>.paused`` contains
  the number of its job.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PLAN = Path(os.environ["ICD_TEST_PLAN"])


def main(argv: list[str]) -> int:
    """Run ``python`` with these arguments; returns its exit status."""
    command = argv[2] if argv[:2] == ["-m", "icd"] else ""
    run = Path(argv[3]) if command in ("train", "evaluate") else None
    started = time.time()
    status = carry_out(argv, run if command == "train" else None)
    record = {
        "command": command,
        "run": run.name if run else None,
        "node": os.environ.get("SLURMD_NODENAME"),
        "job": os.environ.get("SLURM_JOB_ID"),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        "span": [started, time.time()],
        "status": status,
    }
    with (PLAN / "records").open("a") as stream:
        stream.write(json.dumps(record) + "\n")
    return status


def carry_out(argv: list[str], run: Path | None) -> int:
    if run and (fail := PLAN / f"{run.name}.fail").exists():
        print("broken on purpose", file=sys.stderr)
        return int(fail.read_text())
    if run and (lost := PLAN / f"{run.name}.lost").exists():
        node = os.environ["SLURMD_NODENAME"]
        lost.write_text(lost.read_text() or node)
        if lost.read_text() == node:
            return 127
    there = checkpoints(run)
    process = subprocess.Popen([sys.executable, *argv])
    for number in (signal.SIGTERM, signal.SIGINT):  # the process gets them, too
        signal.signal(number, lambda *_: process.send_signal(signal.SIGCONT))
    pause = PLAN / f"{run.name}.pause" if run else None
    if pause and pause.exists():
        while checkpoints(run) <= there and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGSTOP)
        pause.write_text(os.environ["SLURM_JOB_ID"])
        pause.rename(pause.with_suffix(".paused"))
        while process.poll() is None and not pause.with_suffix(".go").exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGCONT)
    status = process.wait()
    return status if status >= 0 else 128 - status


def checkpoints(run: Path | None) -> set[Path]:
    """Those that lie in the folder of a run."""
    return set(run.glob("work/iter_*.pth")) if run else set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
