"""Clipping is mmengine's, and the norm in the log too, but it stays on the device until then."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn

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


@pytest.mark.parametrize("limits", [{"clip_value": 0.9}, {"clip_value": 0.9, "max_norm": 0.5}])
def test_clips_elements_first_then_the_norm(limits: dict[str, float]) -> None:
    """Against NumPy, and without reading a number from the device."""
    model, inputs = nn.Linear(4, 3).double(), torch.linspace(-1, 1, 8).double().view(2, 4)
    nn.init.constant_(model.weight, 0.2)
    nn.init.constant_(model.bias, 0.1)

    def loss() -> Tensor:
        return model(inputs).square().sum()

    raw = flat(torch.autograd.grad(loss(), list(model.parameters())))
    assert abs(raw).max() > 0.9 > abs(raw).min()
    clipped = raw.clip(-0.9, 0.9)
    if "max_norm" in limits:
        assert np.linalg.norm(clipped) > 0.5
        clipped = clipped * 0.5 / (np.linalg.norm(clipped) + 1e-6)
    before = flat(model.parameters())
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    wrapper = ClippingOptimWrapper(optimizer, clip_grad=dict(limits))
    with Device("cpu") as recorded:
        wrapper.update_params(loss())
    assert not recorded.waits
    np.testing.assert_allclose(before - flat(model.parameters()), clipped, rtol=1e-9)
    assert gradient_norms(wrapper)["grad_norm"].item() == pytest.approx(np.linalg.norm(raw))


def flat(tensors: Iterable[Tensor]) -> np.ndarray:
    """All elements in one row."""
    return torch.cat([one.detach().flatten() for one in tensors]).numpy().copy()


def test_without_gradients_there_is_no_norm() -> None:
    wrapper = wrapped(ClippingOptimWrapper, nn.Linear(4, 3))
    wrapper.step()
    assert gradient_norms(wrapper) == {}
