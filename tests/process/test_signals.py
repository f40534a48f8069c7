"""Signals that stop a process."""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path

import pytest

from icd.process import signals
from icd.process.signals import Interrupted, interruptible


def test_outside_of_a_training_it_ends_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        with interruptible("a-run"):
            os.kill(os.getpid(), signal.SIGTERM)
            (tmp_path / "later").touch()

    with pytest.raises(Interrupted) as stopped:
        work()
    assert stopped.value.code == 143
    assert capsys.readouterr().err == (
        "a-run: interrupted by SIGTERM; the same command continues\n"
    )
    assert not (tmp_path / "later").exists()


class Closed(io.StringIO):
    """Stands for a pipe that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_nobody_has_to_read_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Closed())
    signals.tell("a line")
