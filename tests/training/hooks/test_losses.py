"""Losses are logged and checked at an interval, and before anything is saved."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.hooks import RuntimeInfoHook
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from torch import nn

from icd.training.hooks.losses import LossHook

BATCH = {"data_samples": [SimpleNamespace(img_id=42), SimpleNamespace(img_id=7)]}
INTERVAL = 5


def outputs(loss: float) -> dict[str, torch.Tensor]:
    parts = {"loss_cls": torch.tensor(0.5), "loss_bbox": torch.tensor(float("nan"))}
    return {"loss": torch.tensor(loss, requires_grad=True), **parts, "acc": torch.ones(())}


@pytest.fixture
def runner(tmp_path: Path) -> Any:
    """Of a training of 12 iterations, that has done none."""
    wrapper = OptimWrapper(torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1))
    hub = MessageHub(name=str(tmp_path))
    return SimpleNamespace(
        iter=0, max_iters=12, work_dir=str(tmp_path), message_hub=hub, optim_wrapper=wrapper
    )


def follow(hook: Any, runner: Any, losses: list[float]) -> None:
    """One iteration for each loss."""
    for loss in losses:
        hook.after_train_iter(runner, runner.iter, BATCH, outputs(loss))
        runner.iter += 1


def logged(runner: Any) -> dict[str, list[float]]:
    return {name: list(b.data[0]) for name, b in runner.message_hub.log_scalars.items()}


def test_losses_are_read_at_the_interval_and_at_the_end(runner: Any) -> None:
    hook, counts = LossHook(INTERVAL), []
    for _ in range(12):
        follow(hook, runner, [1.0])
        counts.append(len(logged(runner).get("train/loss", [])))
    assert counts == [0, 0, 0, 0, 5, 5, 5, 5, 5, 10, 10, 12]


def test_the_log_is_that_of_mmengines_hook(runner: Any, tmp_path: Path) -> None:
    theirs = SimpleNamespace(**vars(runner) | {"message_hub": MessageHub(name=f"{tmp_path} 2")})
    losses = [1 / (i + 3) for i in range(12)]
    follow(LossHook(INTERVAL), runner, losses)
    follow(RuntimeInfoHook(), theirs, losses)
    ours, expected = logged(runner), logged(theirs)
    assert ours.keys() == expected.keys() == {f"train/{name}" for name in outputs(1.0)}
    for name, values in expected.items():
        assert ours[name] == pytest.approx(values, nan_ok=True, abs=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_no_number_ends_the_run(value: float, runner: Any, tmp_path: Path) -> None:
    """The first one is named, with its images and the last good checkpoint."""
    losses = rf"\{{'loss': {value}, 'loss_cls': 0\.5, 'loss_bbox': nan\}}"
    message = rf"no finite loss in iteration 3: {losses}, images \[42, 7\]; last good checkpoint: "
    follow(hook := LossHook(INTERVAL), runner, [1e30, 1.0, value, float("nan")])
    with pytest.raises(FloatingPointError, match=message + "none"):
        follow(hook, runner, [1.0])
    runner.iter = 0
    (tmp_path / "iter_2.pth").touch()
    follow(hook := LossHook(INTERVAL), runner, [1e30, 1.0, value, float("nan")])
    with pytest.raises(FloatingPointError, match=message + r".*/iter_2\.pth"):
        hook.read(runner)


def test_a_checkpoint_has_the_whole_log(runner: Any) -> None:
    follow(hook := LossHook(INTERVAL), runner, [1.0, 2.0])
    checkpoint: dict[str, Any] = {"state_dict": {}, "message_hub": runner.message_hub.state_dict()}
    hook.before_save_checkpoint(runner, checkpoint)
    assert list(checkpoint["message_hub"]["log_scalars"]["train/loss"].data[0]) == [1.0, 2.0]


def test_no_checkpoint_is_written_after_a_loss_that_is_no_number(runner: Any) -> None:
    """Before the loss is read in its turn."""
    follow(hook := LossHook(INTERVAL), runner, [1.0, float("nan")])
    with pytest.raises(FloatingPointError, match="no finite loss in iteration 2"):
        hook.before_save_checkpoint(runner, {"state_dict": {"a": torch.ones(3)}})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_not_saved(value: float, runner: Any) -> None:
    """A finite loss may have a gradient that is not."""
    follow(hook := LossHook(INTERVAL), runner, [1.0])
    weights = {"a": torch.ones(3), "count": torch.tensor(4)}
    hook.before_save_checkpoint(runner, {"state_dict": weights})
    weights["a"][1] = value
    with pytest.raises(
        FloatingPointError, match=r"no finite weights after iteration 2: \{'loss': 1"
    ):
        hook.before_save_checkpoint(runner, {"state_dict": weights})
