"""The sigmoid focal loss through mmcv, against its equation in float64."""

from __future__ import annotations

import mmcv.ops
import pytest
import torch
from torch import Tensor

from tests.devices import DEVICES


def focal_loss(logits: Tensor, target: Tensor, gamma: float, alpha: float) -> Tensor:
    """Equation 5 of Lin et al. in float64, with log(sigmoid(x)) = -log(1 + exp(-x))."""
    positive = torch.nn.functional.one_hot(target, logits.shape[1] + 1)[:, :-1].bool()
    x = torch.where(positive, logits, -logits)
    log_p = -torch.logaddexp(torch.zeros_like(x), -x)
    alpha_t = torch.where(positive, alpha, 1 - alpha).double()
    return -alpha_t * (1 - log_p.exp()) ** gamma * log_p


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (1.5, 0.5), (0.0, 0.75)])
def test_sigmoid_focal_loss(device: str, gamma: float, alpha: float) -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(40, 7, generator=generator) * 6
    target = torch.randint(0, 8, (40,), generator=generator)  # 7 is the background
    upstream = torch.rand(40, 7, generator=generator)
    exact = logits.double().requires_grad_()
    ours = logits.to(device).requires_grad_()
    loss = mmcv.ops.sigmoid_focal_loss(ours, target.to(device), gamma, alpha, None, "none")
    expected = focal_loss(exact, target, gamma, alpha)
    loss.backward(upstream.to(device))
    expected.backward(upstream.double())
    # Correct digits also where the right answer is nearly certain and all values are tiny.
    torch.testing.assert_close(loss.cpu(), expected.float(), rtol=1e-5, atol=0)
    assert ours.grad is not None
    assert exact.grad is not None
    torch.testing.assert_close(ours.grad.cpu(), exact.grad.float(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("logit", [-1e4, -200.0, -90.0, 90.0, 200.0, 1e4])
def test_sigmoid_focal_loss_at_extreme_logits(logit: float) -> None:
    logits = torch.full((2, 1), logit, requires_grad=True)
    loss = mmcv.ops.sigmoid_focal_loss(logits, torch.tensor([0, 1]), 2.0, 0.25, None, "none")
    loss.sum().backward()
    # Far out the loss is a straight line for the wrong answer and 0 for the right one.
    wrong = 0 if logit < 0 else 1
    slope = (-0.25, 0.75)[wrong]
    expected = torch.zeros(2, 1)
    expected[wrong] = slope
    torch.testing.assert_close(loss, expected * logit)
    torch.testing.assert_close(logits.grad, expected)


def test_sigmoid_focal_loss_weight_and_reductions() -> None:
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(3), requires_grad=True)
    target, weight = torch.tensor([0, 1, 2, 2, 1, 0]), torch.tensor([1.0, 2.0, 5.0])
    rows = focal_loss(logits.double(), target, 2.0, 0.25) * weight[target, None]
    mean = mmcv.ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, weight, "mean")
    torch.testing.assert_close(mean, (rows.sum() / 6).float())
    (gradient,) = torch.autograd.grad(mean, logits)
    torch.testing.assert_close(gradient, torch.autograd.grad(rows.sum() / 6, logits)[0])
