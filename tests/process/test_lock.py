"""One training process per run, however the previous one ended."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from pathlib import Path

import pytest

from icd.errors import InputError
from icd.process import lock
from icd.process.lock import held_by, locked, unused
from tests.processes import end, hold


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.0)


def enter(folder: Path) -> None:
    with locked(folder):
        pass


def test_a_second_process_learns_who_holds_it(tmp_path: Path) -> None:
    process = hold(tmp_path)
    try:
        message = rf"is in use by process {process} on \S+, since 2.*; expected one training of"
        with pytest.raises(InputError, match=message):
            enter(tmp_path)
    finally:
        end(process)


def test_a_process_that_is_ending_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a job that was cancelled and saves its state."""
    process = hold(tmp_path)
    monkeypatch.setattr(lock, "PATIENCE", 60.0)
    monkeypatch.setattr(time, "sleep", lambda seconds: end(process))
    enter(tmp_path)


def test_a_job_of_slurm_is_named_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ("SLURM_JOB_ID", "12"), ("SLURMD_NODENAME", "n1"), ("ICD_LOG", "a/b.log"):
        monkeypatch.setenv(name, value)
    process = hold(tmp_path)
    try:
        message = rf"by process {process} on n1 \(Slurm job 12\), since 2.*, log a/b.log; expected"
        with pytest.raises(InputError, match=message):
            enter(tmp_path)
    finally:
        end(process)


def test_a_process_that_died_holds_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = hold(tmp_path)
    end(process)
    enter(tmp_path)
    said = capsys.readouterr().err
    assert f"process {process} on " in said
    assert said.endswith(" ended before it was done; continuing\n")
    enter(tmp_path)  # which was left properly
    assert capsys.readouterr().err == ""


def test_a_child_does_not_hold_it_on(tmp_path: Path) -> None:
    """A data-loading process may outlive a training that was killed by some seconds."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        with locked(tmp_path):
            if os.fork() == 0:
                os.write(writer, f"{os.getpid():10}".encode())
                time.sleep(60)
            time.sleep(60)
        os._exit(1)
    child = int(os.read(reader, 10))
    end(process)
    try:
        enter(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_lock_file_of_rubbish_is_no_lock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lock").write_text('{"pid"')
    enter(tmp_path)
    assert "another process ended before it was done; continuing" in capsys.readouterr().err


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unsupported(*args: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", unsupported)
    enter(tmp_path)
    assert "this file system does not support locks (No locks available)" in capsys.readouterr().err


def test_the_first_process_of_a_training_holds_it_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    process = hold(tmp_path)
    try:
        with pytest.raises(InputError, match="is in use by"):
            enter(tmp_path)
        monkeypatch.setenv("RANK", "1")
        enter(tmp_path)
    finally:
        end(process)


def test_who_only_looks_learns_who_holds_it(tmp_path: Path) -> None:
    assert held_by(tmp_path) is None
    assert not [*tmp_path.iterdir()], "nothing was written"
    process = hold(tmp_path)
    try:
        assert str(held_by(tmp_path)).startswith(f"process {process} on ")
        with unused(tmp_path) as free:
            assert not free
    finally:
        end(process)
    assert held_by(tmp_path) is None, "the kernel has released it"
    with unused(tmp_path) as free:
        assert free


def test_without_locks_the_file_says_who_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with locked(tmp_path):
        assert str(held_by(tmp_path)).startswith(f"process {os.getpid()} on ")
        with unused(tmp_path) as free:
            assert not free
    assert held_by(tmp_path) is None
    with unused(tmp_path) as free:
        assert free
