"""The provenance of a run."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch
from torch.utils import collect_env

from icd.training import manifest


def test_environment_is_plain_data() -> None:
    found = json.loads(json.dumps(manifest.environment(), allow_nan=False))
    assert datetime.now(UTC) - datetime.fromisoformat(found["time"]) < timedelta(minutes=1)
    assert found["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert all(found["versions"].values())
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["hardware"]["threads"] == torch.get_num_threads()
    assert found["hardware"]["cores"] >= 1
    assert found["hardware"]["processor"]
    assert found["hardware"]["simd"] in torch.__config__.show()


def test_a_missing_package_is_no_reason_to_lose_a_run() -> None:
    assert manifest.installed("pytest") == pytest.__version__
    assert manifest.installed("no-such-package") is None


def test_gpus_and_what_drives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with two of them."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"NVIDIA A100 {index}")
    monkeypatch.setattr(torch.cuda.nccl, "version", lambda: (2, 27, 3))
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91200)
    monkeypatch.setattr(collect_env, "get_nvidia_driver_version", lambda run: "580.65")
    assert manifest.gpus() == {
        "gpus": ["NVIDIA A100 0", "NVIDIA A100 1"],
        "driver": "580.65",
        "cuda": "13.0",
        "cudnn": 91200,
        "nccl": "2.27.3",
    }
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: False)
    assert manifest.gpus()["nccl"] is None


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one commit, in which the code is meant to lie."""
    monkeypatch.setattr(manifest, "ROOT", tmp_path)
    (tmp_path / "results").mkdir()
    for name in ("code.py", "results/table.md"):
        (tmp_path / name).write_text("as committed")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-m", "first")
    return tmp_path


def git(folder: Path, *command: str) -> str:
    return subprocess.run(
        ["git", "-C", folder, *command], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_git_state(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    assert manifest.git_state() == {"commit": commit, "modified": False}
    (repository / "notes.txt").write_text("not part of the code")
    (repository / "results/table.md").write_text("made by the code")
    assert manifest.git_state() == {"commit": commit, "modified": False}
    (repository / "code.py").write_text("changed")
    assert manifest.git_state() == {"commit": commit, "modified": True}


def test_no_git_state_outside_of_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "ROOT", tmp_path)
    assert manifest.git_state() is None
    monkeypatch.setenv("PATH", str(tmp_path))  # nor without git
    assert manifest.git_state() is None


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="compares with /proc")
def test_peak_memory_is_that_of_the_process() -> None:
    before = manifest.peak_memory_mib()["process"]
    ballast: list[bytearray] = []
    while resident("VmRSS") < before + 64:  # memory that was freed may go back meanwhile
        ballast.append(bytearray(b"x") * 2**24)
    del ballast
    found = manifest.peak_memory_mib()["process"]
    assert found > before + 32
    assert found == pytest.approx(resident("VmHWM"), rel=0.02)


def resident(key: str) -> float:
    """Resident memory of this process in MiB as Linux reports it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))
