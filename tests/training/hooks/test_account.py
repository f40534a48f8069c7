"""Time and memory of a training that was stopped and resumed."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from icd.training.hooks import account
from icd.training.hooks.account import AccountHook
from tests.lab import Lab


def test_sessions_add_up_and_the_largest_memory_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    now, peak = [100.0], {"process": 900.0}
    monkeypatch.setattr(account.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(account, "peak_memory_mib", lambda: dict(peak))
    runner = SimpleNamespace()
    checkpoint: dict[str, dict[str, Any]] = {"meta": {}}
    first = AccountHook()
    now[0] += 30
    first.before_save_checkpoint(runner, checkpoint)
    now[0] += 1000  # lost with the session, and the time until the next one
    peak["process"], peak["cuda"] = 700.0, 50.0
    second = AccountHook()
    second.after_load_checkpoint(runner, checkpoint)
    now[0] += 12
    assert second.account() == {
        "seconds": 42.0,
        "peak_memory_mib": {"process": 900.0, "cuda": 50.0},
    }


def test_a_training_keeps_its_account(lab: Lab) -> None:
    run = lab.run()
    folder = lab.train(run)
    first = json.loads((folder / "manifest.json").read_text())
    lab.train(run)
    again = json.loads((folder / "manifest.json").read_text())
    assert again["seconds"] > 0.9 * first["seconds"] > 0
