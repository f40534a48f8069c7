"""Every method on a fake GPU: no mixed devices, no waiting, and few launches.

The number of launches dominates a GPU's time on small batches.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from icd.methods.adapter import Adapted
from icd.methods.cwd import CWD
from icd.methods.fgd import FGD
from icd.methods.fitnet import FitNet
from icd.methods.icd import fast, plain
from icd.methods.icd.diagnosis import diagnose
from icd.methods.icd.method import ICD
from icd.methods.icd.queries import make_queries
from icd.methods.mgd import MGD
from icd.methods.pkd import PKD
from icd.methods.tokens import Targets
from icd.methods.where import Where
from tests.fake_gpu import Device, fake_gpu, move
from tests.methods.batches import P2_P6, P3_P7, PRIORS, level_sizes, total

PADDED = (800, 1344)
NARROW = 128  # channels of a student whose pyramid is narrower than the teacher's, 256


def icd(**options: Any) -> Callable[[], ICD]:
    return lambda: ICD(PRIORS, **{"warmup": 0, **options})


def adapted(method: Callable[[], nn.Module]) -> Callable[[], Adapted]:
    return lambda: Adapted(method(), [NARROW] * 5, [256] * 5, 256)


# How a variant is built; what it may launch at most in the forward pass, and with the backward one.
VARIANTS: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "icd": (icd(), 240, 360),
    "icd, depth 0": (icd(layers=0), 230, 340),
    "icd, depth 2": (icd(layers=2), 370, 520),
    "icd, in warm-up": (icd(warmup=1), 240, 350),
    "icd, fakes count": (icd(fakes=True), 240, 360),
    "icd, not normalised": (icd(normalise=False), 240, 360),
    "icd, one auxiliary loss": (icd(auxiliary=["identification"]), 240, 350),
    "icd, identity values": (icd(value_space="identity"), 240, 360),
    "icd, scaled levels": (icd(scale_levels=True), 310, 430),
    "icd, narrow student": (icd(student_channels=NARROW), 240, 360),
    "icd, everywhere": (icd(where="everywhere"), 230, 350),
    "icd, foreground": (icd(where="foreground"), 290, 420),
    "icd, fine_grained": (icd(where="fine_grained"), 410, 1560),
    "icd, activation": (icd(where="activation"), 340, 460),
    "fitnet": (FitNet, 70, 70),
    "fitnet, narrow student": (lambda: FitNet(student_channels=NARROW), 70, 70),
    "cwd": (CWD, 110, 160),
    "pkd": (PKD, 220, 350),
    "mgd": (MGD, 130, 160),
    "fgd": (FGD, 690, 950),
    "cwd, adapted": (adapted(CWD), 140, 170),
    "pkd, adapted": (adapted(PKD), 240, 360),
    "mgd, adapted": (adapted(MGD), 140, 170),
    "fgd, adapted": (adapted(FGD), 710, 950),
}
PYRAMIDS = {"P3-P7": P3_P7, "P2-P6": P2_P6}
OBJECTS = {"objects": [1, 4, 0, 7] * 4, "no objects": [0] * 16}
Batch = tuple[list[Tensor], list[Tensor], Targets]


def fake_batch(
    device: str, counts: Sequence[int], strides: Sequence[int] = P3_P7, channels: int = 256
) -> Batch:
    """Pyramids of COCO's size, and images of different sizes with so many objects."""
    with torch.device(device):
        teacher, student = (
            [torch.empty(len(counts), width, *size) for size in level_sizes(PADDED, strides)]
            for width in (256, channels)
        )
        boxes = [torch.empty(count, 4) for count in counts]
        labels = [torch.empty(count, dtype=torch.long) for count in counts]
    sizes = [(800 - 3 * i, 1333 - 5 * i) for i in range(len(counts))]
    targets = Targets(boxes, labels, sizes, PADDED, strides)
    return teacher, [x.requires_grad_() for x in student], targets


def precision(device: str, bfloat16: bool) -> AbstractContextManager:
    return torch.autocast(device, torch.bfloat16) if bfloat16 else nullcontext()


def record(variant: str, device: str, bfloat16: bool = False, **batch: Any) -> Device:
    """What a variant asks of a device for one batch: its losses; on the CPU also their gradients.

    Random numbers for fake instances are drawn on the CPU, as in training.
    """
    method = VARIANTS[variant][0]()
    channels = NARROW if "narrow" in variant or "adapted" in variant else 256
    with fake_gpu():
        move(method, device)
        inputs = fake_batch(device, channels=channels, **batch)
        with Device(device) as recorded:
            with precision(device, bfloat16):
                losses = method(*inputs, 0)
            for loss in losses.values():
                assert (loss.device.type, loss.dtype, loss.shape) == (device, torch.float32, ())
            if device == "cpu":
                total(losses).backward()
    return recorded


@pytest.fixture(autouse=True)
def _in_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU; only a CPU works in blocks."""
    monkeypatch.setattr(fast, "CPU_BLOCK", sys.maxsize)


@pytest.mark.parametrize(("pyramid", "bfloat16"), [("P3-P7", False), ("P2-P6", True)])
@pytest.mark.parametrize("variant", VARIANTS)
def test_mixes_no_devices_waits_for_nothing_and_launches_little(
    variant: str, pyramid: str, bfloat16: bool
) -> None:
    most = VARIANTS[variant][1]
    for counts in OBJECTS.values():
        found = record(variant, "cuda", bfloat16, counts=counts, strides=PYRAMIDS[pyramid])
        assert not found.waits
        assert 0 < sum(found.launches.values()) <= most


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_backward_pass_waits_for_nothing_and_launches_little(variant: str) -> None:
    """On fake tensors on the CPU, of which gradients can be computed."""
    for counts in OBJECTS.values():
        found = record(variant, "cpu", counts=counts)
        assert not found.waits
        assert 0 < sum(found.launches.values()) <= VARIANTS[variant][2]


@pytest.mark.parametrize("variant", ["icd", "icd, depth 2", "icd, foreground", "mgd", "fgd"])
def test_the_number_of_images_does_not_change_the_launches(variant: str) -> None:
    few, many = (record(variant, "cuda", counts=[2] * images) for images in (4, 16))
    assert few.launches == many.launches


def test_every_place_to_imitate_is_among_the_variants() -> None:
    found = {VARIANTS[name][0]().where for name in VARIANTS if name.startswith("icd")}
    assert found == set(get_args(Where))


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_the_plain_formulation_runs_on_a_gpu(depth: int) -> None:
    """It is the specification, and trains nothing; it may launch more."""
    method = ICD(PRIORS, layers=depth)
    with fake_gpu():
        move(method)
        teacher, student, targets = fake_batch("cuda", [1, 0, 3])
        with Device() as recorded:
            queries = make_queries(targets, method.draw(targets, 0), method.jitter)
            losses = method.losses(teacher, student, targets, queries, False, plain)
    assert {loss.device.type for loss in losses.values()} == {"cuda"}
    assert not recorded.waits


@pytest.mark.parametrize("depth", [0, 2])
def test_the_diagnosis_waits_for_nothing_either(depth: int) -> None:
    method = ICD(PRIORS, layers=depth, scale_levels=True)
    with fake_gpu():
        move(method)
        teacher, _, targets = fake_batch("cuda", [1, 0, 3])
        with Device() as recorded:
            found = diagnose(method, teacher, targets, 0)
    assert {(value.device.type, value.shape) for value in found.values()} == {("cuda", ())}
    assert not recorded.waits


# --- The fake GPU itself ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (lambda x: x.sum().item(), "_local_scalar_dense"),
        (lambda x: bool(x.any()), "_local_scalar_dense"),
        (lambda x: x[x > 0], "nonzero"),
        (lambda x: torch.equal(x, x), "equal"),
        (lambda x: x + torch.ones(3), "Expected all tensors to be on the same device"),
    ],
)
def test_what_reads_a_value_or_mixes_devices_fails(
    read: Callable[[Tensor], object], error: str
) -> None:
    with fake_gpu(), pytest.raises(Exception, match=error):
        read(torch.empty(3, device="cuda"))


@pytest.mark.parametrize(
    ("copy", "waits"),
    [
        (lambda x: x.cpu(), {"_to_copy": 1}),
        (lambda x: torch.ones(3).to(x), {"_to_copy": 1}),
        (lambda x: torch.ones(3).to(x, non_blocking=True), {}),
        (lambda x: torch.tensor([1.0], device=x.device), {"_to_copy": 1}),
        (lambda x: x.copy_(torch.ones(3)), {"copy_": 1}),
        (lambda x: x.copy_(torch.ones(3), non_blocking=True), {}),
        (lambda x: x[torch.tensor([0])], {"index": 1}),
        (lambda x: x * 2 + torch.arange(3, device=x.device), {}),
    ],
)
def test_copies_that_block_are_recorded(
    copy: Callable[[Tensor], object], waits: dict[str, int]
) -> None:
    with fake_gpu(), Device() as recorded:
        copy(torch.empty(3, device="cuda"))
    assert recorded.waits == Counter(waits)


def test_autocast_works_there() -> None:
    with fake_gpu():
        x = torch.empty(2, 2, device="cuda")
        with torch.autocast("cuda", torch.bfloat16):
            assert (x @ x).dtype == torch.bfloat16
            assert (x @ x).softmax(dim=0).dtype == torch.float32


def test_operators_count_as_launches_but_views_and_the_cpu_do_not() -> None:
    with fake_gpu(), Device() as recorded:
        torch.ones(2, 3, device="cuda").t().flatten(0).sum()
        torch.ones(2) + 1
    assert recorded.launches.keys() == {"ones", "clone", "sum"}
