"""Each attempt to carry out a job has a log of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from icd.experiments.yaml_files import WORKFLOW

SCRIPT = WORKFLOW / "scripts/attempt.sh"
SAVES = """
trap 'stopped=yes' TERM
touch started
while [ -z "${stopped:-}" ]; do sleep 0.05; done
sleep 0.3
echo state saved >&2
exit 143
"""


def start(log: Path, *command: str, script: Path = SCRIPT, **environment: str) -> subprocess.Popen:
    clean = {name: value for name, value in os.environ.items() if "SLURM" not in name}
    return subprocess.Popen(
        ["bash", str(script), log.name, *command],
        cwd=log.parent,
        env=clean | environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def logs(log: Path) -> list[Path]:
    return sorted((log.parent / "logs").iterdir())


def wait_for(file: Path) -> None:
    while not file.exists():
        time.sleep(0.02)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "train.log"


def test_what_snakemake_prints_is_short_and_names_the_whole_log(log: Path) -> None:
    process = start(log, "sh", "-c", "seq 450; echo bad >&2; exit 3", SLURM_JOB_ID="12")
    assert process.communicate()[1] == "bad\n", "the terminal shows errors and progress"
    assert process.returncode == 3
    first, *lines = log.read_text().splitlines()
    (whole,) = logs(log)
    assert first == f"log of this attempt: ./{whole.relative_to(log.parent)}"
    assert whole.name.endswith("-job12.log")
    assert sorted(whole.read_text().split()) == sorted([*map(str, range(1, 451)), "bad"])
    assert len(lines) == 20
    assert "bad" in lines or "450" in lines


def test_an_attempt_keeps_its_log_when_another_one_is_refused(log: Path) -> None:
    running = start(log, "sh", "-c", SAVES)
    wait_for(log.parent / "started")
    log.unlink()  # as Snakemake does it
    assert start(log, "sh", "-c", "echo in use >&2; exit 2").wait() == 2
    assert "in use" in log.read_text()
    os.killpg(running.pid, signal.SIGTERM)  # as Slurm does it: the script gets it, too
    assert running.wait() == 143
    refused, saved = sorted(
        (file.read_text() for file in logs(log)), key=lambda text: "saved" in text
    )
    assert refused == "in use\n"
    assert saved.endswith("state saved\n")
    assert "state saved" in log.read_text()


def test_the_command_knows_its_log(log: Path) -> None:
    start(log, "sh", "-c", "echo $ICD_LOG").wait()
    (whole,) = logs(log)
    assert whole.read_text().strip() == f"./{whole.relative_to(log.parent)}"


def test_a_program_that_is_missing_has_the_status_of_a_shell(log: Path) -> None:
    assert start(log, "no-such-program").wait() == 127
    assert "no-such-program" in log.read_text()


def test_without_a_place_for_its_log_it_is_not_tried_again(log: Path) -> None:
    (log.parent / "logs").touch()
    assert start(log, "touch", "done").wait() == 2
    assert not (log.parent / "done").exists()


def test_a_new_version_of_the_script_does_not_disturb_a_run(log: Path, tmp_path: Path) -> None:
    """Bash reads a script while it runs it."""
    script = tmp_path / "attempt.sh"
    shutil.copy(SCRIPT, script)
    running = start(log, "sh", "-c", SAVES, script=script)
    wait_for(tmp_path / "started")
    script.write_text("echo\n" * 10 + script.read_text())
    os.killpg(running.pid, signal.SIGTERM)
    assert running.wait(20) == 143
    assert len(logs(log)) == 1
