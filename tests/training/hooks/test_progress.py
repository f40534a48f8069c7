"""The progress messages of a run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from icd.training.hooks import progress
from icd.training.hooks.progress import FiniteLossHook, IterationHook, ProgressHook, clock


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


BATCH = {"data_samples": [SimpleNamespace(img_id=42), SimpleNamespace(img_id=7)]}


def outputs(loss: float) -> dict[str, torch.Tensor]:
    parts = {"loss_cls": torch.tensor(0.5), "loss_bbox": torch.tensor(float("nan"))}
    return {"loss": torch.tensor(loss), **parts, "acc": torch.ones(())}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_no_number_ends_the_run(value: float, tmp_path: Path) -> None:
    hook, runner = FiniteLossHook(), SimpleNamespace(iter=6, work_dir=str(tmp_path))
    hook.after_train_iter(runner, 0, BATCH, outputs(1e30))
    losses = rf"\{{'loss': {value}, 'loss_cls': 0\.5, 'loss_bbox': nan\}}"
    message = rf"no finite loss in iteration 7: {losses}, images \[42, 7\]; last good checkpoint: "
    with pytest.raises(FloatingPointError, match=message + "none"):
        hook.after_train_iter(runner, 0, BATCH, outputs(value))
    (tmp_path / "iter_5.pth").touch()
    with pytest.raises(FloatingPointError, match=message + r".*/iter_5\.pth"):
        hook.after_train_iter(runner, 0, BATCH, outputs(value))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_not_saved(value: float, tmp_path: Path) -> None:
    """A finite loss may have a gradient that is not."""
    hook, runner = FiniteLossHook(), SimpleNamespace(iter=6, work_dir=str(tmp_path))
    hook.after_train_iter(runner, 0, BATCH, outputs(1.0))
    weights = {"a": torch.ones(3), "count": torch.tensor(4)}
    hook.before_save_checkpoint(runner, {"state_dict": weights})
    weights["a"][1] = value
    with pytest.raises(
        FloatingPointError, match=r"no finite weights after iteration 7: \{'loss': 1"
    ):
        hook.before_save_checkpoint(runner, {"state_dict": weights})
