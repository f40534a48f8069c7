"""TF32 and deterministic algorithms: set for a training, restored after it, and recorded."""

from __future__ import annotations

import contextlib
import json
import os

import pytest
import torch
from torch.backends import cudnn

from icd.training import arithmetic
from tests.lab import Lab

DEFAULTS = ("highest", True, False, False, False)  # PyTorch's


def state() -> tuple[str, bool, bool, bool, bool]:
    return (
        torch.get_float32_matmul_precision(),
        cudnn.allow_tf32,
        cudnn.deterministic,
        torch.are_deterministic_algorithms_enabled(),
        cudnn.benchmark,
    )


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ})


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("deterministic", [False, True])
def test_settings_hold_within_the_block(tf32: bool, deterministic: bool) -> None:
    """Those for convolutions and for matrix products agree, which PyTorch's defaults do not."""
    assert state() == DEFAULTS
    before = cudnn.enabled
    with contextlib.suppress(KeyError), arithmetic.settings(tf32, deterministic):
        matmul = "high" if tf32 else "highest"
        assert state() == (matmul, tf32, deterministic, deterministic, False)
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert cudnn.enabled == before
        assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) >= deterministic
        raise KeyError
    assert state() == DEFAULTS
    assert not torch.is_deterministic_algorithms_warn_only_enabled()


def test_the_manifest_says_how_a_run_was_computed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the run's description says, it records what PyTorch is set to."""
    seen = []
    monkeypatch.setattr(
        "icd.training.hooks.seed.SeedByIteration.before_train_iter",
        lambda *_, **__: seen.append(state()),
    )
    recipe = {"batch_size": 4, "accumulate": 2, "tf32": True, "precision": "bfloat16"}
    lab = lab.changed({"recipe": {**recipe, "unit": 1}})
    folder = lab.train(lab.run(), deterministic=True)
    assert seen == [("high", True, True, True, False)]
    assert json.loads((folder / "manifest.json").read_text())["arithmetic"] == {
        "precision": "bfloat16",
        "memory_format": "channels_last",
        "tf32": {"matmul": True, "cudnn": True},
        "deterministic": True,
        "cudnn_benchmark": False,
        "processes": 1,
        "accumulate": 2,
    }
