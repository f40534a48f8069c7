"""Being asked to stop, at any moment of a training."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner import Runner
from torch import distributed

from icd.process import interrupt
from icd.process.interrupt import Interrupted, InterruptHook, interruptible, uninterrupted_worker
from icd.training.hooks.progress import ProgressHook
from tests.lab import Lab, differing, weights

STUDENT, ICD = {}, {"method": "icd"}


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
    handlers = [signal.getsignal(number) for number in interrupt.SIGNALS]
    with monkeypatch.context() as patch:
        seen = ask(patch, 3, signal.SIGTERM, signal.SIGTERM, signal.SIGINT)
        with pytest.raises(SystemExit) as stopped, interruptible("a run"):
            other.train(run, workers)
        assert seen == [1, 2, 3]
    assert [signal.getsignal(number) for number in interrupt.SIGNALS] == handlers
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
    interrupt.tell("a line")


def idle(setup: bool) -> None:
    """A data-loading process; it goes on for a minute if nobody ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whatever the process of the tests has set
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    if setup:
        uninterrupted_worker(1, 2, 7)
    time.sleep(60)


@pytest.mark.parametrize("setup", [True, False])
def test_a_data_loader_leaves_signals_to_the_training(setup: bool) -> None:
    worker = get_context("fork").Process(target=idle, args=[setup], daemon=True)
    worker.start()
    time.sleep(0.5)
    subprocess.run(["kill", "-TERM", str(worker.pid)], check=True)
    subprocess.run(["kill", "-INT", str(worker.pid)], check=True)
    worker.join(0.5 if setup else 10)
    assert worker.is_alive() == setup
    worker.terminate()  # as the parent does
    worker.join(10)
    assert not worker.is_alive()
