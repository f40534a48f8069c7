"""A run is trained by one process at a time."""

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
    """Hold a run's folder within the block.

    The lock is the kernel's, who releases it when the process ends in whatever way; a file that
    is left says no more than who held it. Data-loading processes do not inherit it. Of several
    processes that torchrun has started for one training, the first holds it for all.

    Raises:
        InputError: another process holds it; says which one.
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
    """Take the lock on an open file, if the file system has locks."""
    try:
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise InputError(
                folder,
                "",
                f"is in use by {holder(stream) or 'another process'}",
                "one training of a run at a time: wait for that one or end it "
                "(its lock goes with it; if its machine is gone, delete the file 'lock')",
            ) from error
        if error.errno not in UNSUPPORTED:
            raise
        print(
            f"{folder}: this file system has no locks ({error.strerror}); make sure that nobody "
            "else trains this run",
            file=sys.stderr,
        )


def holder(stream: TextIO) -> str:
    """Who has written into a lock's file; empty if it was released properly."""
    stream.seek(0)
    text = stream.read()
    if not text:
        return ""
    try:
        found = json.loads(text)
        return f"process {found['pid']} on {found['host']}, since {found['since']}"
    except (ValueError, KeyError, TypeError):  # it died while it wrote
        return "another process"


def now() -> str:
    """This moment, for a reader."""
    return datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
