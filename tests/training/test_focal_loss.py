"""The focal loss against mmdet's formula in float64, in value and gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmdet.models.losses import focal_loss as mmdet_focal_loss
from mmdet.registry import MODELS
from torch import Tensor

from icd.training import focal_loss
from icd.training.focal_loss import FocalLoss, FocalSum
from tests.fake_gpu import Device, fake_gpu

ROWS, CLASSES = 70, 9
GAMMAS = (0.0, 0.5, 1.0, 2.0, 3.5)


def case(spread: float = 4.0, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits in float64, targets of which half are the background, and weights with zeros."""
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(ROWS, CLASSES, generator=generator, dtype=torch.float64)
    target = torch.randint(2 * CLASSES, (ROWS,), generator=generator).clamp(max=CLASSES)
    weight = torch.rand(ROWS, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), target, weight.where(weight > 0.2, 0)


def definition(
    logits: Tensor, target: Tensor, weight: Tensor, gamma: float = 2.0, alpha: float = 0.25
) -> Tensor:
    """Equation 5 of the paper, class by class, with logarithms that are exact."""
    positive = target[:, None] == torch.arange(logits.shape[1])
    of_truth = torch.where(positive, logits, -logits)  # p_t is its sigmoid
    balance = torch.tensor([1 - alpha, alpha], dtype=torch.float64)[positive.long()]
    loss = -balance * torch.sigmoid(-of_truth) ** gamma * F.logsigmoid(of_truth)
    return (loss * weight[:, None]).sum()


def compare(ours: Tensor, theirs: Tensor, logits: Tensor, **tolerance: Any) -> None:
    """Values, and gradients by the logits."""
    torch.testing.assert_close(ours, theirs, **tolerance)
    found, expected = (torch.autograd.grad(3 * loss, logits)[0] for loss in (ours, theirs))
    torch.testing.assert_close(found, expected, **tolerance)


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_follows_the_paper(gamma: float, alpha: float) -> None:
    logits, target, weight = case()
    ours = FocalSum.apply(logits, target, weight, gamma, alpha)
    theirs = definition(logits, target, weight, gamma, alpha)
    compare(ours, theirs, logits, rtol=1e-10, atol=1e-12)


def test_the_gradient_is_that_of_finite_differences() -> None:
    logits, target, weight = case()
    assert torch.autograd.gradcheck(
        lambda x: FocalSum.apply(x, target, weight, 2.0, 0.25), logits, atol=1e-6
    )


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("spread", [0.1, 5.0, 50.0])
def test_single_precision_is_close_whatever_the_logits(spread: float, gamma: float) -> None:
    """Also where mmcv's kernel cuts the logarithm off."""
    logits, target, weight = case(spread)
    single = logits.detach().float().requires_grad_()
    FocalSum.apply(single, target, weight.float(), gamma, 0.25).backward()
    theirs = definition(logits, target, weight, gamma)
    theirs.backward()
    assert single.grad is not None
    torch.testing.assert_close(single.grad.double(), logits.grad, rtol=1e-4, atol=1e-6)
    ours = FocalSum.apply(single, target, weight.float(), gamma, 0.25)
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=0)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_extreme_logits_have_finite_gradients(gamma: float) -> None:
    logits, target, weight = case(1e6)
    single = logits.detach().float().requires_grad_()
    loss = FocalSum.apply(single, target, weight.float(), gamma, 0.25)
    loss.backward()
    torch.testing.assert_close(loss.double(), definition(logits, target, weight, gamma))
    assert single.grad is not None
    assert single.grad.abs().max() < 1  # the slope of the logarithm, but for rounding


@pytest.mark.parametrize("label", [-1, CLASSES, CLASSES + 5])
def test_a_label_that_is_no_class_is_the_background(label: int) -> None:
    """So it is in mmcv's operator, whereas mmdet's formula accepts the number of classes alone."""
    logits, target, weight = case()
    target[:20] = label
    ours = FocalSum.apply(logits, target, weight, 2.0, 0.25)
    compare(ours, definition(logits, target, weight), logits, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 7, 69, 70, 1000])
def test_blocks_do_not_change_it(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(focal_loss, "BLOCK", {"cuda": rows * CLASSES})
    logits, target, weight = case()
    ours = FocalSum.apply(logits, target, weight, 2.0, 0.25)
    compare(ours, definition(logits, target, weight), logits, rtol=1e-10, atol=1e-12)


# --- As mmdet's heads call it -----------------------------------------------------------------

CALLS: dict[str, dict[str, Any]] = {
    "mean of all": {},
    "mean of positives": {"avg_factor": 13},
    "a tensor as factor": {"avg_factor": torch.tensor(13.0)},
    "no positives": {"avg_factor": torch.tensor(0.0)},
    "sum": {"reduction_override": "sum"},
    "no reduction": {"reduction_override": "none"},
    "weights of columns": {"weight": torch.rand(ROWS, 1)},
    "weights of each": {"weight": torch.rand(ROWS, CLASSES)},
    "no weights": {"weight": None},
}


@pytest.mark.parametrize("options", [{}, {"gamma": 1.5, "alpha": 0.4, "loss_weight": 0.7}])
@pytest.mark.parametrize("call", CALLS)
def test_it_returns_what_mmdets_loss_does(call: str, options: dict[str, Any]) -> None:
    logits, target, weight = case()
    arguments = {"weight": weight, **CALLS[call]}
    ours, theirs = (
        kind(**options)(logits, target, **arguments)
        for kind in (FocalLoss, mmdet_focal_loss.FocalLoss)
    )
    compare(ours.sum(), theirs.sum(), logits, rtol=1e-10, atol=1e-12)
    assert ours.shape == theirs.shape


@pytest.mark.parametrize("rows", [0, 3])
def test_without_objects_or_rows_there_is_a_gradient_all_the_same(rows: int) -> None:
    logits = torch.zeros(rows, CLASSES, requires_grad=True)
    target = torch.full((rows,), CLASSES)
    FocalLoss()(logits, target, torch.zeros(rows), avg_factor=1).backward()
    assert logits.grad is not None
    assert not logits.grad.any()


def test_probabilities_and_one_hot_targets_are_left_to_mmdet() -> None:
    logits, target, weight = case()
    one_hot = F.one_hot(target, CLASSES + 1)[:, :CLASSES]
    for options, pred in (({}, logits), ({"activated": True}, logits.sigmoid())):
        ours, theirs = (
            kind(**options)(pred, one_hot, weight)
            for kind in (FocalLoss, mmdet_focal_loss.FocalLoss)
        )
        assert torch.equal(ours, theirs)
    with pytest.raises(ValueError, match="avg_factor can not be used"):
        FocalLoss(reduction="sum")(logits, target, avg_factor=3)


def test_bfloat16_logits_get_a_gradient_of_their_type_and_a_loss_in_float32() -> None:
    logits, target, weight = case()
    rounded = logits.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = FocalLoss()(rounded, target, weight.float(), avg_factor=13)
    loss.backward()
    assert (loss.dtype, rounded.grad.dtype) == (torch.float32, torch.bfloat16)  # type: ignore
    exact = rounded.detach().double().requires_grad_()
    expected = definition(exact, target, weight) / 13
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)
    (gradient,) = torch.autograd.grad(expected, exact)
    torch.testing.assert_close(rounded.grad.double(), gradient, rtol=0.01, atol=1e-6)  # type: ignore


# --- What it is for ---------------------------------------------------------------------------


def test_one_tensor_is_kept_for_the_backward_pass() -> None:
    kept: list[Tensor] = []
    logits, target, weight = case()

    def keep(x: Tensor) -> Tensor:
        kept.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        FocalLoss()(logits, target, weight, avg_factor=13)
    assert [x.numel() for x in kept if x.numel() >= ROWS] == [ROWS * CLASSES]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_runs_on_a_gpu_without_waiting(dtype: torch.dtype) -> None:
    """At the size of COCO: P3 of 16 images of 800 x 1344 pixels."""
    with fake_gpu():
        with torch.device("cuda"):
            logits = torch.empty(16 * 100 * 168 * 9, 80, dtype=dtype, requires_grad=True)
            target = torch.empty(len(logits), dtype=torch.long)
            weight = torch.empty(len(logits))
        with Device() as recorded:
            loss = FocalLoss()(logits, target, weight, avg_factor=torch.ones((), device="cuda"))
    assert (loss.device.type, loss.shape) == ("cuda", ())
    assert not recorded.waits
    blocks = -(-logits.numel() // focal_loss.BLOCK["cuda"])
    assert sum(recorded.launches.values()) <= 35 * (blocks + 1)


def test_configs_get_it() -> None:
    assert type(MODELS.build({"type": "FocalLoss", "use_sigmoid": True})) is FocalLoss
