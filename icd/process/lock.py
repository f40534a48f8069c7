"""Only one process at a time trains a run."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TextIO

from icd.errors import InputError

NAME = "lock"
UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's folder within the block.

    The kernel holds the lock and releases it when the process ends, however it ends. A leftover
    lock file only says who held the lock. Data-loading processes do not inherit it. If torchrun
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
        mine = {"host": socket.gethostname(), "pid": os.getpid(), "since": now()}
        stream.write(json.dumps(mine))
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)


def take(stream: TextIO, folder: Path) -> None:
    """Lock an open file, if the file system supports locks."""
    try:
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise InputError(
                folder,
                "",
                f"is in use by {holder(stream) or 'another process'}",
                "one training of a run at a time: wait for the other or end it "
                "(which releases the lock; if its machine is gone, delete the file 'lock')",
            ) from error
        if error.errno not in UNSUPPORTED:
            raise
        print(
            f"{folder}: this file system does not support locks ({error.strerror}); make sure that "
            "no other process trains this run",
            file=sys.stderr,
        )


def holder(stream: TextIO) -> str:
    """The process named in a lock file; empty if the lock was released properly."""
    stream.seek(0)
    text = stream.read()
    if not text:
        return ""
    try:
        owner = json.loads(text)
        return f"process {owner['pid']} on {owner['host']}, since {owner['since']}"
    except (ValueError, KeyError, TypeError):  # the process died while writing
        return "another process"


def now() -> str:
    """The current time in a readable form."""
    return datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
