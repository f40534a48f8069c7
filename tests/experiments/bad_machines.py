"""Machines that lack what a run needs: disk space, permission, GPUs."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from tests.experiments.bad_runs import teacher_checkpoint
from tests.experiments.broken import Break, Case, Project


def full(prefix: str, suffix: str, dir: Path) -> tuple[int, str]:
    """In place of tempfile.mkstemp: a file on a disk without room, the kernel's own."""
    name = str(Path(dir, f"{prefix}full{suffix}"))
    os.symlink("/dev/full", name)
    return os.open(os.devnull, os.O_RDONLY), name


def read_only(prefix: str, suffix: str, dir: Path) -> tuple[int, str]:
    """In place of tempfile.mkstemp: a folder that nothing can be written to."""
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(Path(dir, prefix + suffix)))


def disk(mkstemp: Callable) -> Break:
    """A run that could be carried out if its results could be written."""

    def edit(project: Project) -> None:
        teacher_checkpoint()(project)
        project.patch.setattr("tempfile.mkstemp", mkstemp)

    return edit


def no_gpu(project: Project) -> None:
    """A run that could be carried out if it did without a GPU."""
    teacher_checkpoint()(project)
    project.patch.setenv("CUDA_VISIBLE_DEVICES", "")


ROOM = "expected room and permission to write there"
DISK_CASES = [
    Case(
        "a full disk",
        disk(full),
        ("error: run/", "cannot be written (No space left on device)", ROOM),
        late=True,
    ),
    Case(
        "a read-only folder",
        disk(read_only),
        ("error: run/", "cannot be written (Read-only file system)", ROOM),
        late=True,
    ),
]
GPU_CASES = [
    Case("no GPU", no_gpu, ("machine.gpus: is 1, but only 0 are visible", "0 for the CPU")),
]
