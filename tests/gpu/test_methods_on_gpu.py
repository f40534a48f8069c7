"""Methods on a real GPU: the values of the CPU, without waiting for the device.

On the CPU, the same tests make sure that their own code works.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from icd.methods.icd import plain
from icd.methods.icd.queries import make_queries
from icd.methods.mgd import MGD
from icd.training.focal_loss import FocalLoss
from tests.devices import DEVICES
from tests.methods.batches import Batch, gradient, random_batch, total
from tests.methods.icd.golden import CASES, GoldenCase
from tests.methods.test_fake_gpu import NARROW, VARIANTS, precision

pytestmark = pytest.mark.parametrize("device", DEVICES)


# MGD draws other masks on other kinds of devices; in the warm-up, students get no gradient.
COMPARABLE = [name for name in VARIANTS if "mgd" not in name and "warm-up" not in name]


def there(batch: Batch, device: str) -> Batch:
    """The batch on a device; the student's features ask for gradients."""
    boxes, labels = (
        [x.to(device) for x in rows] for rows in (batch.targets.boxes, batch.targets.labels)
    )
    return Batch(
        [level.to(device) for level in batch.teacher],
        [level.detach().to(device).requires_grad_() for level in batch.student],
        replace(batch.targets, boxes=boxes, labels=labels),
    )


@contextmanager
def no_waiting(device: str) -> Iterator[None]:
    """Within the block, an operation that waits for the GPU raises an error."""
    if device == "cpu":
        yield
        return
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def wide_batch(variant: str) -> Batch:
    batch = random_batch(channels=256)
    if "narrow" in variant or "adapted" in variant:
        return replace(batch, student=[level[:, :NARROW] for level in batch.student])
    return batch


def step(method: nn.Module, batch: Batch, device: str, bfloat16: bool) -> dict[str, Tensor]:
    """The losses, with the gradients left behind."""
    with precision(device, bfloat16):
        losses = method(batch.teacher, batch.student, batch.targets, 0)
    total(losses).backward()
    return losses


@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_waits_for_nothing(device: str, variant: str, bfloat16: bool) -> None:
    """The second one: in the first, libraries start."""
    method, batch = VARIANTS[variant][0]().to(device), there(wide_batch(variant), device)
    step(method, batch, device, bfloat16)
    with no_waiting(device):
        losses = step(method, batch, device, bfloat16)
    assert all(loss.isfinite() for loss in losses.values())
    gradients = [level.grad for level in batch.student if level.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert gradients or "warm-up" in variant


@pytest.mark.parametrize("variant", COMPARABLE)
def test_values_and_gradients_are_those_of_the_cpu(device: str, variant: str) -> None:
    torch.manual_seed(0)
    method = VARIANTS[variant][0]()
    batch = there(wide_batch(variant), "cpu")
    expected = step(method, batch, "cpu", False)
    other = there(batch, device)
    found = step(copy.deepcopy(method).to(device), other, device, False)
    for name, loss in expected.items():  # a GPU may convolve in TF32
        torch.testing.assert_close(found[name].cpu(), loss, rtol=2e-3, atol=1e-5)
    for ours, theirs in zip(other.student, batch.student, strict=True):
        scale = gradient(theirs).abs().max()
        difference = gradient(ours).cpu() - gradient(theirs)
        assert difference.abs().max() <= 0.01 * scale


@pytest.mark.parametrize("name", CASES)
def test_golden_values(device: str, name: str) -> None:
    """The fast formulation there, and the plain one on the CPU, which has the published values."""
    case = GoldenCase(name)
    losses = []
    for where, formulation in (("cpu", plain), (device, None)):
        batch = there(Batch(case.levels("tea"), case.levels("stu"), case.targets), where)
        method = case.method().to(where)
        queries = make_queries(batch.targets, case.draws(), method.jitter)
        chosen = {"formulation": formulation} if formulation else {}
        losses.append(
            method.losses(batch.teacher, batch.student, batch.targets, queries, False, **chosen)
        )
    for key, expected in losses[0].items():
        torch.testing.assert_close(losses[1][key].cpu(), expected, rtol=1e-4, atol=1e-6)


def test_masks_are_a_function_of_seed_and_iteration_on_every_device(device: str) -> None:
    mgd = MGD()
    levels = [torch.zeros(2, 1, 50, 60, device=device), torch.zeros(2, 1, 5, 6, device=device)]
    first, again, other = (mgd.draw(levels, iteration) for iteration in (3, 3, 4))
    for one, two, three in zip(first, again, other, strict=True):
        assert one.device.type == device
        assert torch.equal(one, two)
        assert not torch.equal(one, three)
    assert first[0].float().mean().item() == pytest.approx(0.35, abs=0.03)


def test_the_focal_loss(device: str) -> None:
    torch.manual_seed(0)
    logits, target, weight = torch.randn(600, 80), torch.randint(81, (600,)), torch.rand(600)
    exact = logits.double().requires_grad_()
    expected = FocalLoss()(exact, target, weight.double(), avg_factor=9)
    expected.backward()
    ours = logits.to(device).requires_grad_()
    on_device = target.to(device), weight.to(device)
    with no_waiting(device):
        loss = FocalLoss()(ours, *on_device, avg_factor=9)
        loss.backward()
    torch.testing.assert_close(loss.cpu().double(), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(gradient(ours).cpu().double(), exact.grad, rtol=1e-4, atol=1e-7)
