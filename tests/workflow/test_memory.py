"""How the C library handles the memory of a training."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.workflow.toy import snakemake, toy_track

pytestmark = pytest.mark.slow

SETTINGS = {
    "MALLOC_TRIM_THRESHOLD_": "-1",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_MMAP_MAX_": "0",
}
# Prints glibc's account of 64 MiB: bytes outside the heap while they are held, and bytes at the end
# of the heap that it keeps after they are freed.
ACCOUNT = """
import ctypes
libc = ctypes.CDLL(None)
names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
fields = [(name, ctypes.c_size_t) for name in names.split()]
Account = type("Account", (ctypes.Structure,), {"_fields_": fields})
libc.mallinfo2.restype, libc.malloc.restype = Account, ctypes.c_void_p
libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
block = libc.malloc(2**26)
held = libc.mallinfo2()
libc.free(block)
print(held.hblkhd, libc.mallinfo2().keepcost)
"""


def start_of_training(folder: Path, gpus: int) -> dict[str, str]:
    """The environment that the rule ``train`` sets for its process."""
    track = toy_track() | {"machine": {"threads": 1, "gpus": gpus}}
    file = folder / "toy.yaml"
    file.write_text(yaml.safe_dump(track, sort_keys=False))
    printed = snakemake(folder, "--cores", "1", "-n", "-p", "--config", f"track={file}")
    starts = set(re.findall(r"attempt\.sh \S+ env (.*)python -m icd train", printed))
    assert len(starts) == 1, printed
    return dict(pair.split("=") for pair in starts.pop().split())


def test_a_training_on_a_cpu_keeps_freed_memory(tmp_path: Path) -> None:
    found = start_of_training(tmp_path, gpus=0)
    assert found == SETTINGS
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("the settings are glibc's")
    command = [sys.executable, "-c", ACCOUNT]
    kept, usual = (
        subprocess.run(
            command, env=os.environ | more, capture_output=True, text=True, check=True
        ).stdout.split()
        for more in (found, {})
    )
    assert int(kept[0]) == 0, "the heap holds the block"
    assert int(kept[1]) >= 2**26, "and keeps it"
    assert int(usual[0]) >= 2**26, "glibc would map it"
    assert int(usual[1]) < 2**26, "and unmap it"


def test_a_training_on_gpus_does_not(tmp_path: Path) -> None:
    assert start_of_training(tmp_path, gpus=1) == {}
