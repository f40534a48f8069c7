"""Only one process at a time trains a run."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from icd.errors import InputError
from icd.process.attempts import describe, this_attempt

NAME = "lock"
BUSY = (errno.EACCES, errno.EAGAIN)
UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)

# A process that was told to end needs up to 30 seconds to save its state (Slurm's KillWait), and a
# file server releases the locks of a lost machine after 90.
PATIENCE = 120.0
SECONDS_BETWEEN_TRIES = 1.0


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's folder within the block.

    The kernel holds the lock and releases it when the process ends, however it ends. A leftover
    lock file only says who held the lock. If another process holds it, this waits ``PATIENCE``
    seconds for it to end. Data-loading processes do not inherit it. If torchrun
    started several processes for one training, the first holds the lock for all of them.

    Raises:
        InputError: another process holds the lock; the message names the process.
    """
    if not folder.is_dir():
        raise InputError(folder, "", "does not exist", "the folder of a run, with its run.json")
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    with (folder / NAME).open("a+") as stream:
        take(stream, folder)
        last = holder(stream)
        if last:
            print(f"{folder}: {last} ended before it was done; continuing", file=sys.stderr)
        stream.truncate(0)
        stream.write(json.dumps(this_attempt()))
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)


def held_by(folder: Path) -> str | None:
    """The process that holds the lock of a run's folder; None if there is none.

    Nothing is written. On a file system without locks, the lock file says who holds it. Not for a
    process that holds the lock itself: the kernel would release it.
    """
    try:
        stream = (folder / NAME).open()
    except FileNotFoundError:
        return None
    with stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in BUSY:
                return holder(stream) or "another process"
            if error.errno in UNSUPPORTED:
                return holder(stream) or None
            raise
        return None


@contextmanager
def unused(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder within the block, unless another process holds it: then False."""
    with (folder / NAME).open("a+") as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (*BUSY, *UNSUPPORTED):
                raise
            yield error.errno in UNSUPPORTED and not holder(stream)
        else:
            yield True


def take(stream: TextIO, folder: Path) -> None:
    """Lock an open file, if the file system supports locks."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in BUSY and time.monotonic() < end:
                time.sleep(SECONDS_BETWEEN_TRIES)
                continue
            if error.errno in BUSY:
                raise in_use(stream, folder) from error
            if error.errno not in UNSUPPORTED:
                raise
            print(
                f"{folder}: this file system does not support locks ({error.strerror}); make sure "
                "that no other process trains this run",
                file=sys.stderr,
            )
        return


def in_use(stream: TextIO, folder: Path) -> InputError:
    """The error that another process holds the lock."""
    return InputError(
        folder,
        "",
        f"is in use by {holder(stream) or 'another process'}",
        "one training of a run at a time: wait for the other or end it "
        "(which releases the lock; if its machine is gone, delete the file 'lock')",
    )


def holder(stream: TextIO) -> str:
    """The process named in a lock file; empty if the lock was released properly."""
    stream.seek(0)
    text = stream.read()
    if not text:
        return ""
    try:
        return describe(json.loads(text))
    except (ValueError, KeyError, TypeError):  # the process died while writing
        return "another process"
