"""Signals at any moment of a training."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner import Runner
from torch import distributed

from icd.process.signals import SIGNALS, Interrupted, interruptible
from icd.training.hooks import interrupt
from icd.training.hooks.interrupt import InterruptHook
from icd.training.hooks.progress import ProgressHook
from tests.lab import Lab, differing, weights

pytestmark = pytest.mark.slow

STUDENT: dict[str, str] = {}
ICD = {"method": "icd"}


def ask(monkeypatch: pytest.MonkeyPatch, iteration: int, *numbers: int) -> list[int]:
    """Send signals to this process in an iteration, from 1; the iterations that were finished."""
    seen, follow = [], ProgressHook.after_train_iter

    def watched(hook: ProgressHook, runner: Any, *args: object, **kwargs: object) -> None:
        follow(hook, runner, *args, **kwargs)
        seen.append(runner.iter + 1)
        if seen[-1] == iteration:
            for number in numbers:
                os.kill(os.getpid(), number)

    monkeypatch.setattr(ProgressHook, "after_train_iter", watched)
    return seen


@pytest.mark.parametrize(("change", "workers"), [(STUDENT, 0), (ICD, 0), (STUDENT, 1)])
def test_a_training_that_is_asked_to_stop_saves_and_goes_on_later(
    lab: Lab,
    tmp_path: Path,
    change: dict,
    workers: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = lab.run(**change)
    whole = weights(lab.train(run))
    other = lab.at(tmp_path / "interrupted")
    other.place(run.teacher, lab) if run.teacher else other.project.mkdir()
    handlers = [signal.getsignal(number) for number in SIGNALS]
    with monkeypatch.context() as patch:
        seen = ask(patch, 3, signal.SIGTERM, signal.SIGTERM, signal.SIGINT)
        with pytest.raises(SystemExit) as stopped, interruptible("a run"):
            other.train(run, workers)
        assert seen == [1, 2, 3]
    assert [signal.getsignal(number) for number in SIGNALS] == handlers
    assert stopped.value.code == 143
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == (
        f"{run.id}: interrupted by SIGTERM after 3 of 6 iterations; state saved in "
        f"{run.folder.resolve() / 'work'}/iter_3.pth, the same command continues from there"
    ).replace(str(lab.project), str(other.project))
    assert not (other.folder(run) / "model.pth").exists()
    with monkeypatch.context() as patch:
        seen = ask(patch, 0)
        resumed = weights(other.train(run, workers))
        assert seen == [4, 5, 6]
    assert not differing(resumed, whole)


def test_a_checkpoint_that_is_due_is_not_written_twice(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, written, save = lab.run(), [], Runner.save_checkpoint

    def counted(runner: Runner, *args: object, **kwargs: object) -> None:
        written.append(runner.iter + 1)
        save(runner, *args, **kwargs)

    monkeypatch.setattr(Runner, "save_checkpoint", counted)
    ask(monkeypatch, 4, signal.SIGINT)
    with pytest.raises(Interrupted) as stopped:
        lab.train(run, checkpoint_every=2)
    assert stopped.value.code == 130
    assert written == [2, 4]


def test_all_processes_stop_after_the_same_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was not asked learns of it from the others, on the CPU, not by its GPU."""
    hook = InterruptHook("a-run")
    monkeypatch.setattr(interrupt, "is_distributed", lambda: True)
    monkeypatch.setattr(distributed, "new_group", lambda backend: f"by {backend}")
    hook.before_train(None)
    hook.after_train(None)
    for theirs in (0, 15):

        def tell(number: torch.Tensor, op: str, group: str, theirs: int = theirs) -> None:
            assert (number.device.type, op, group) == ("cpu", "max", "by gloo")
            number.fill_(theirs)

        monkeypatch.setattr(interrupt, "all_reduce", tell)
        assert hook.agreed() == theirs
