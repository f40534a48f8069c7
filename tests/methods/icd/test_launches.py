"""Number of kernel launches per step, which dominates a GPU's time on small batches."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from icd.methods.icd import fast
from icd.methods.icd.method import ICD
from icd.methods.icd.queries import make_queries
from icd.methods.tokens import Targets
from icd.methods.where import Where
from tests.methods.batches import P2_P6, P3_P7, PRIORS, level_sizes, total

# Operators that only allocate, or tell or change how a tensor is seen.
NO_KERNEL = {
    "_reshape_alias",
    "_unsafe_view",
    "alias",
    "detach",
    "device",
    "empty",
    "empty_like",
    "expand",
    "lift_fresh",
    "new_empty",
    "new_empty_strided",
    "permute",
    "promote_types",
    "select",
    "slice",
    "split",
    "split_with_sizes",
    "squeeze",
    "t",
    "transpose",
    "unsqueeze",
    "view",
}
MOST = 300


class Launches(TorchDispatchMode):
    """Counts operators by name, except those that launch no kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if (name := func.overloadpacket.__name__) not in NO_KERNEL:
            self.seen[name] += 1
        return func(*args, **(kwargs or {}))


def launches(
    images: int, strides: Sequence[int], device: str = "cpu", **options: Any
) -> Counter[str]:
    """Those of ICD's losses, and on the CPU of their gradients, for images of different sizes.

    Tensors are fake: they have no values and need neither time, memory nor a GPU, but on a GPU no
    gradients can be computed of them. Random numbers are drawn before, on the CPU as in training.
    """
    padded = (800, 1344)
    sizes = [(800 - 3 * i, 1333 - 5 * i) for i in range(images)]
    counts = [1 + 3 * i % 7 for i in range(images)]
    annotated = Targets([torch.zeros(count, 4) for count in counts], [], sizes, padded)
    samples = ICD(PRIORS).draw(annotated, iteration=0)
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device(device):
            method = ICD(PRIORS, **options)
            teacher, student = (
                [torch.empty(images, 256, *size) for size in level_sizes(padded, strides)]
                for _ in range(2)
            )
            boxes = [torch.empty(count, 4) for count in counts]
            labels = [torch.empty(count, dtype=torch.long) for count in counts]
        for level in student:
            level.requires_grad_()
        targets = Targets(boxes, labels, sizes, padded)
        with Launches() as counted:
            queries = make_queries(targets, samples, method.jitter)
            losses = total(method.losses(teacher, student, targets, queries, detach=False))
            assert losses.device.type == device
            if device == "cpu":
                losses.backward()
    return counted.seen


@pytest.fixture(autouse=True)
def _in_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU; only a CPU works in blocks."""
    monkeypatch.setattr(fast, "CPU_BLOCK", sys.maxsize)


@pytest.mark.parametrize("strides", [P3_P7, P2_P6], ids=["P3-P7", "P2-P6"])
def test_neither_images_nor_the_pyramid_change_the_number_of_launches(
    strides: Sequence[int],
) -> None:
    few, many = (sum(launches(images, strides).values()) for images in (4, 16))
    assert few == many <= MOST


@pytest.mark.parametrize("options", [{"fakes": True}, {"layers": 3}, {"normalise": False}])
def test_options_do_not_make_it_depend_on_the_images(options: dict[str, Any]) -> None:
    few, many = (sum(launches(images, P3_P7, **options).values()) for images in (4, 16))
    assert few == many


@pytest.mark.parametrize("where", get_args(Where))
def test_runs_on_a_gpu_without_mixing_devices_or_waiting(where: str) -> None:
    """Fake tensors raise where a CPU tensor meets them or where a value is read."""
    assert launches(2, P3_P7, "cuda", where=where)


def test_counts_operators_but_no_views() -> None:
    with Launches() as counted:
        torch.ones(2, 3).t().flatten(0).sum()
    assert counted.seen.keys() == {"ones", "clone", "sum"}
