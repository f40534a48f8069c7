"""Exclusive GPUs for a run, exactly as many as it needs.

Snakemake and the user's shell count GPUs but do not assign them. Here every GPU has a lock file,
which all runs on the machine share. The kernel releases a lock when the last process that holds it
ends, however it ends. GPUs are identified by UUID, because GPU numbers can differ between jobs.
Under Slurm, a job sees only its own GPUs.

A number in CUDA_VISIBLE_DEVICES counts GPUs in the order of nvidia-smi (PCI bus). CUDA itself puts
the fastest GPU first unless CUDA_DEVICE_ORDER says otherwise, so it is set to PCI_BUS_ID here.
"""

from __future__ import annotations

import fcntl
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from icd.errors import InputError

VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
BY_BUS = "PCI_BUS_ID"  # the order of nvidia-smi
SECONDS_BETWEEN_TRIES = 2.0

_held: list[int] = []  # open for as long as this process lives


def use_gpus(count: int) -> None:
    """Reserve ``count`` GPUs for this process; 0 hides all GPUs. Call before importing torch.

    Waits until other runs have released enough GPUs.

    Raises:
        InputError: the machine has fewer GPUs, or PyTorch cannot use them.
    """
    if count == 0:
        os.environ[VISIBLE] = ""
        return
    os.environ.setdefault(ORDER, BY_BUS)
    if not is_launched():  # otherwise the launcher has claimed them for all its processes
        os.environ[VISIBLE] = ",".join(claim(count, visible_gpus()))
    import torch

    visible = torch.cuda.device_count()
    if visible < count:
        raise _too_few(count, f"PyTorch can use only {visible}")


def is_launched() -> bool:
    """Whether torchrun started this process for a run."""
    return "LOCAL_RANK" in os.environ


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process may use: those of CUDA_VISIBLE_DEVICES, or all.

    Raises:
        InputError: CUDA_VISIBLE_DEVICES holds numbers that count in an order other than
            nvidia-smi's.
    """
    listed = _ask("uuid")
    if VISIBLE not in os.environ:
        return listed
    chosen = [name.strip() for name in os.environ[VISIBLE].split(",") if name.strip()]
    if any(name.isdigit() for name in chosen):
        _require_order_of_bus()
    # Numbers are indices into the list of GPUs. Names (of a GPU or a MIG instance) are kept.
    numbers = {str(number): name for number, name in enumerate(listed)}
    return [numbers.get(name, name) for name in chosen if name in numbers or not name.isdigit()]


def gpu_models() -> list[str]:
    """Model names of all GPUs of this machine, e.g. NVIDIA H200."""
    return _ask("name")


def _ask(what: str) -> list[str]:
    """What nvidia-smi says about each GPU; empty without a driver."""
    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [line.strip() for line in output.splitlines() if line.strip()]


def _require_order_of_bus() -> None:
    """Raise InputError if numbers of GPUs count in another order than nvidia-smi's.

    Among GPUs of one model, all orders agree.
    """
    order = os.environ.get(ORDER, BY_BUS)
    if order != BY_BUS and len(set(gpu_models())) > 1:
        problem = f"is {order}, so the numbers in {VISIBLE} are ambiguous on GPUs of several models"
        raise InputError(ORDER, "", problem, f"{BY_BUS}, or UUIDs in {VISIBLE}")


def claim(count: int, among: list[str]) -> list[str]:
    """Lock ``count`` of these GPUs for this process; waits until they are free.

    Raises:
        InputError: there are fewer GPUs.
    """
    if len(among) < count:
        raise _too_few(count, f"only {len(among)} are visible")
    told = False
    while True:
        locks = {name: handle for name in among if (handle := _lock(name)) is not None}
        for name in list(locks)[count:]:
            os.close(locks.pop(name))
        if len(locks) == count:
            _held.extend(locks.values())
            return list(locks)
        for handle in locks.values():  # a run that kept locks while waiting could cause a deadlock
            os.close(handle)
        if not told:
            print(f"waiting for {count} of {len(among)} GPUs", file=sys.stderr, flush=True)
            told = True
        time.sleep(SECONDS_BETWEEN_TRIES * random.uniform(0.5, 1))


def _lock(name: str) -> int | None:
    """An open file that holds the lock of a GPU; None if another process holds it."""
    folder = Path(tempfile.gettempdir(), "icd-gpus")
    folder.mkdir(exist_ok=True)
    with suppress(PermissionError):  # another user created the folder and set its mode
        folder.chmod(0o1777)
    path = folder / name.replace("/", "-")
    if not path.exists():  # files of other users can be opened, but not created again
        path.touch()
        path.chmod(0o444)
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _too_few(count: int, available: str) -> InputError:
    problem, expected = f"is {count}, but {available}", "no more than nvidia-smi lists"
    return InputError("machine.gpus", "", problem, f"{expected}, or 0 for the CPU")
