"""The clock of a rehearsal."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from icd.training.hooks.rehearsal import RehearsalHook


@pytest.fixture
def received() -> Iterator[list[int]]:
    """The signals that this process got."""
    found: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: found.append(number))
    yield found
    signal.signal(signal.SIGTERM, before)


def session(file: Path, iterations: range, total: int, received: list[int]) -> None:
    """Iterations of 20 ms, 10 of them for the images, until a signal arrives."""
    runner: Any = SimpleNamespace(iter=iterations.start, max_iters=total)
    hook = RehearsalHook(file)
    hook.before_train(runner)
    for i in iterations:
        runner.iter = i
        time.sleep(0.01)
        hook.before_train_iter(runner, i)
        time.sleep(0.01)
        hook.after_train_iter(runner, i)
        if received:
            break


def test_the_first_session_is_stopped_in_the_middle_and_the_second_is_not(
    tmp_path: Path, received: list[int]
) -> None:
    file = tmp_path / "times.json"
    session(file, range(8), 8, received)
    assert received == [signal.SIGTERM]
    received.clear()
    session(file, range(4, 8), 8, received)
    assert received == []
    first, second = json.loads(file.read_text())["sessions"]
    assert (first["first"], second["first"]) == (0, 4)
    for one in (first, second):
        assert len(one["seconds"]) == len(one["loading"]) == 4
        for seconds, loading in zip(one["seconds"], one["loading"], strict=True):
            assert 0.01 <= loading < seconds
            assert seconds >= 0.02
