"""The progress messages of a run."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from icd.training.hooks import progress
from icd.training.hooks.progress import EpochHook, IterationHook, ProgressHook, clock


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (123, "2:03"),
        (3599.7, "1:00:00"),
        (90061, "25:01:01"),
    ],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_time_left_counts_from_where_the_run_resumed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line at most every ten seconds; 20 of 100 steps were made before."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    hook, runner = ProgressHook("a-run"), SimpleNamespace(iter=20, max_iters=100)
    hook.before_train(runner)
    for runner.iter in range(20, 30):
        now[0] += 2.0
        loss = torch.tensor(runner.iter / 10, requires_grad=True)
        hook.after_train_iter(runner, 0, outputs={"loss": loss, "acc": torch.ones(())})
    assert capsys.readouterr().err.splitlines() == [
        "a-run  25/100  loss 2.400  2:30 left",
        "a-run  30/100  loss 2.900  2:20 left",
    ]


@pytest.mark.parametrize("parallel", [True, False])
def test_a_distiller_learns_its_iteration(parallel: bool) -> None:
    model = SimpleNamespace(iteration=0)
    wrapped = SimpleNamespace(module=model) if parallel else model
    IterationHook().before_train_iter(SimpleNamespace(model=wrapped, iter=41), 0)
    assert model.iteration == 41


def test_the_epoch_counts_how_often_the_images_were_seen() -> None:
    told: dict[str, int] = {}
    hub = SimpleNamespace(update_info=told.__setitem__)
    loader = SimpleNamespace(dataset=range(10))
    epochs = []
    for iteration in range(11):
        runner = SimpleNamespace(iter=iteration, message_hub=hub, train_dataloader=loader)
        EpochHook(batch=3).before_train_iter(runner, 0)
        epochs.append(told["epoch"])
    assert epochs == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
