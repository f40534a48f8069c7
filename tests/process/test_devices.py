"""Exclusive GPUs: locked, identified by UUID, released however a run ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from icd.__main__ import main
from icd.errors import InputError, NodeError
from icd.experiments.yaml_files import ROOT
from icd.process import devices
from icd.process.devices import ORDER, VISIBLE, claim, use_gpus, visible_gpus

FOUR = [f"GPU-{letter * 4}" for letter in "abcd"]


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine with four GPUs and locks of its own; what torch finds there is what is visible."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '%s\\n' " + " ".join(FOUR) + "\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    for name in (VISIBLE, ORDER, "LOCAL_RANK"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(os.environ[VISIBLE].split(",")))
    monkeypatch.setattr(devices, "SECONDS_BETWEEN_TRIES", 0.05)
    monkeypatch.setattr(devices, "_held", [])
    yield tmp_path
    for handle in devices._held:
        os.close(handle)


def holder(count: int) -> tuple[subprocess.Popen, list[str]]:
    """Another process that has claimed so many GPUs, and their names."""
    script = (
        "import sys, time; from icd.process.devices import claim, visible_gpus\n"
        "print(*claim(int(sys.argv[1]), visible_gpus()), flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(count)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    return process, process.stdout.readline().split()


def test_a_run_gets_as_many_gpus_as_it_asks_for() -> None:
    use_gpus(2)
    assert os.environ[VISIBLE] == "GPU-aaaa,GPU-bbbb"


def test_no_gpu_is_given_twice_and_a_killed_run_gives_its_own_back() -> None:
    first, theirs = holder(2)
    second, others = holder(1)
    assert theirs == FOUR[:2]
    assert others == FOUR[2:3]
    assert claim(1, visible_gpus()) == FOUR[3:]
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert claim(2, visible_gpus()) == FOUR[:2]
    second.kill()
    second.wait()


def test_a_run_waits_for_gpus_and_keeps_none_meanwhile(
    capfd: pytest.CaptureFixture[str],
) -> None:
    first, _ = holder(3)
    second = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from icd.process.devices import *; print(*claim(2, visible_gpus()))",
        ],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    time.sleep(1)
    assert second.poll() is None
    assert claim(1, visible_gpus()) == FOUR[3:], "the GPU that is free is free for others"
    first.kill()
    first.wait()
    assert second.communicate(timeout=30)[0].decode().split() == FOUR[:2]
    assert capfd.readouterr().err == "waiting for 2 of 4 GPUs\n"


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("2,0", [FOUR[2], FOUR[0]]),
        ("GPU-cccc", ["GPU-cccc"]),
        ("MIG-1, 1", ["MIG-1", FOUR[1]]),
        ("", []),
        ("7", []),
    ],
)
def test_gpus_are_those_that_are_visible(
    visible: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VISIBLE, visible)
    assert visible_gpus() == expected


MIXED = """#!/bin/sh
case $1 in
*uuid) printf 'GPU-aaaa\\nGPU-bbbb\\n' ;;
*name) printf 'NVIDIA T4\\nNVIDIA H200\\n' ;;
esac
"""


def test_numbers_count_in_the_order_of_the_bus_which_cuda_is_told(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "bin/nvidia-smi").write_text(MIXED)
    monkeypatch.setenv(VISIBLE, "1")
    use_gpus(1)
    assert (os.environ[ORDER], os.environ[VISIBLE]) == ("PCI_BUS_ID", "GPU-bbbb")


def test_a_process_of_a_launcher_keeps_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "GPU-bbbb")
    monkeypatch.setenv("LOCAL_RANK", "0")
    use_gpus(1)
    assert os.environ[ORDER] == "PCI_BUS_ID"


def test_an_order_of_the_users_own_is_kept_or_refused(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "bin/nvidia-smi").write_text(MIXED)
    monkeypatch.setenv(ORDER, "FASTEST_FIRST")
    monkeypatch.setenv(VISIBLE, "0")
    problem = f"{ORDER}: is FASTEST_FIRST, so the numbers in {VISIBLE} are ambiguous"
    with pytest.raises(InputError, match=problem):
        use_gpus(1)
    monkeypatch.setenv(VISIBLE, "GPU-bbbb")
    use_gpus(1)
    assert os.environ[ORDER] == "FASTEST_FIRST"


def test_among_gpus_of_one_model_every_order_is_the_same(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "bin/nvidia-smi").write_text(MIXED.replace("T4", "H200"))
    monkeypatch.setenv(ORDER, "FASTEST_FIRST")
    monkeypatch.setenv(VISIBLE, "1")
    assert visible_gpus() == ["GPU-bbbb"]


def test_more_gpus_than_there_are_is_refused() -> None:
    with pytest.raises(InputError, match=r"is 5, but only 4 are visible; expected .* or 0"):
        use_gpus(5)
    assert VISIBLE not in os.environ


def test_gpus_that_pytorch_cannot_use_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(InputError, match="is 1, but PyTorch can use only 0"):
        use_gpus(1)


def test_without_a_driver_no_gpu_is_there(machine: Path) -> None:
    (machine / "bin/nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    with pytest.raises(InputError, match="but only 0 are visible"):
        use_gpus(1)


def test_a_node_without_its_gpus_is_told_from_a_wrong_track(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm gives a job as many as it asks for; the pipeline then tries another node."""
    (machine / "bin/nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    files = ["--data", "data", "--survey", "data.json", "--manifest", "manifest.json"]
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    command = ["train", str(run), *files, "--gpus", "1"]
    assert main(command) == InputError.status == 2
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert main(command) == NodeError.status == 126


def test_the_cpu_hides_all_gpus_and_claims_none(machine: Path) -> None:
    use_gpus(0)
    assert os.environ[VISIBLE] == ""
    assert not (machine / "icd-gpus").exists()


def test_processes_of_a_launcher_use_the_gpus_it_has_claimed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process, theirs = holder(2)
    monkeypatch.setenv(VISIBLE, ",".join(theirs))
    monkeypatch.setenv("LOCAL_RANK", "1")
    use_gpus(2)
    assert os.environ[VISIBLE] == "GPU-aaaa,GPU-bbbb"
    process.kill()
    process.wait()


def test_locks_are_files_that_all_users_can_open(machine: Path) -> None:
    claim(1, visible_gpus())
    assert (machine / "icd-gpus").stat().st_mode & 0o7777 == 0o1777
    assert (machine / "icd-gpus" / FOUR[0]).stat().st_mode & 0o444 == 0o444


@pytest.mark.parametrize(("arguments", "expected"), [([], FOUR[2]), (["--gpus", "0"], "")])
def test_costs_are_measured_on_a_gpu_that_no_training_uses(
    arguments: list[str], expected: str, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, theirs = holder(2)
    seen = []
    monkeypatch.setattr(
        "icd.cost.timing.measure", lambda plan, output: seen.append(os.environ[VISIBLE])
    )
    output = str(machine / "cost.csv")
    assert main(["cost", "mini", "--data", ".", "--output", output, *arguments]) == 0
    process.kill()
    process.wait()
    assert theirs == FOUR[:2]
    assert seen == [expected]
