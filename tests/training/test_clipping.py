"""Clipping is mmengine's, and the norm in the log too, but it stays on the device until then."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from icd.training.clipping import ClippingOptimWrapper
from icd.training.hooks.losses import gradient_norms
from tests.fake_gpu import Device


def wrapped(kind: type[OptimWrapper], model: nn.Module) -> OptimWrapper:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
    return kind(optimizer, clip_grad={"max_norm": 0.01})


def test_clips_as_mmengine_does_and_reads_nothing() -> None:
    ours, theirs = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs = copy.deepcopy(ours)
    wrapper = wrapped(ClippingOptimWrapper, ours)
    assert gradient_norms(wrapper) == {}
    with Device("cpu") as recorded:
        wrapper.update_params(ours(torch.ones(2, 4)).square().sum())
    assert not recorded.waits
    wrapped(OptimWrapper, theirs).update_params(theirs(torch.ones(2, 4)).square().sum())
    for own, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(own, expected)
    logged = MessageHub.get_current_instance().get_scalar("train/grad_norm").current()
    assert gradient_norms(wrapper)["grad_norm"].item() == pytest.approx(logged)
    both = OptimWrapperDict(student=wrapper, method=wrapped(ClippingOptimWrapper, theirs))
    assert gradient_norms(both).keys() == {"student.grad_norm"}


def test_without_gradients_there_is_no_norm() -> None:
    wrapper = wrapped(ClippingOptimWrapper, nn.Linear(4, 3))
    wrapper.step()
    assert gradient_norms(wrapper) == {}
