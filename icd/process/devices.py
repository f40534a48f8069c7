"""The devices of a run: cards of its own, as many as it asks for, and not what happens to be there.

Snakemake and the user's shell count cards, but do not hand them out. Here every card has a lock
file, shared by all runs of the machine; the kernel releases the lock when the last process that
holds it ends, however it ends. Cards are named by their UUID, so runs agree on which is which even
where each job has its own numbers, as under Slurm: there the only cards in sight are the job's own.
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

VISIBLE = "CUDA_VISIBLE_DEVICES"
SECONDS_BETWEEN_TRIES = 2.0

_held: list[int] = []  # open for as long as this process lives


def use_gpus(count: int) -> None:
    """Give this process so many cards of its own; 0 hides them all. Call before torch is imported.

    Waits while other runs hold too many of them.

    Raises:
        InputError: the machine has fewer, or PyTorch cannot use them.
    """
    if count == 0:
        os.environ[VISIBLE] = ""
        return
    if not is_launched():  # else the launcher has claimed them for all its processes
        os.environ[VISIBLE] = ",".join(claim(count, cards()))
    import torch

    visible = torch.cuda.device_count()
    if visible < count:
        raise _too_few(count, f"PyTorch can use {visible}")


def is_launched() -> bool:
    """Whether this is one of the processes that torchrun has started for a run."""
    return "LOCAL_RANK" in os.environ


def cards() -> list[str]:
    """Names of the cards that this process may use: those of CUDA_VISIBLE_DEVICES, or all."""
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        listed = []
    if VISIBLE not in os.environ:
        return listed
    chosen = [name.strip() for name in os.environ[VISIBLE].split(",") if name.strip()]
    # Numbers count the cards that are listed; a name, also of a part of a card, stands for itself.
    numbers = {str(number): name for number, name in enumerate(listed)}
    return [numbers.get(name, name) for name in chosen if name in numbers or not name.isdigit()]


def claim(count: int, among: list[str]) -> list[str]:
    """Lock ``count`` of these cards for this process; waits for them.

    Raises:
        InputError: there are fewer.
    """
    if len(among) < count:
        raise _too_few(count, f"{len(among)} can be seen")
    told = False
    while True:
        found = {card: handle for card in among if (handle := _lock(card)) is not None}
        for card in list(found)[count:]:
            os.close(found.pop(card))
        if len(found) == count:
            _held.extend(found.values())
            return list(found)
        for handle in found.values():  # none is kept while waiting: two runs could wait for ever
            os.close(handle)
        if not told:
            print(f"waiting for {count} of {len(among)} cards", file=sys.stderr, flush=True)
            told = True
        time.sleep(SECONDS_BETWEEN_TRIES * random.uniform(0.5, 1))


def _lock(card: str) -> int | None:
    """An open file that holds the lock of a card; None if another process holds it."""
    folder = Path(tempfile.gettempdir(), "icd-gpus")
    folder.mkdir(exist_ok=True)
    with suppress(PermissionError):  # made by another user, who has done it
        folder.chmod(0o1777)
    path = folder / card.replace("/", "-")
    if not path.exists():  # the files of other users can be opened, but not as new ones
        path.touch()
        path.chmod(0o444)
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _too_few(count: int, found: str) -> InputError:
    problem, expected = f"asks for {count} GPUs, but {found}", "no more than nvidia-smi lists"
    return InputError("machine.gpus", "", problem, f"{expected}, or 0 for the CPU")
