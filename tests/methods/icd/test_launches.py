"""How many kernels a step launches, which is what a GPU pays for in small batches."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from icd.methods.icd import fast
from icd.methods.icd.method import ICD
from icd.methods.icd.queries import make_queries
from icd.methods.tokens import Targets
from tests.methods.batches import P2_P6, P3_P7, PRIORS, level_sizes

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


def step(images: int, strides: Sequence[int], **options: Any) -> Counter[str]:
    """The launches of ICD's losses and their gradients for images of different sizes.

    Tensors have no values, so that neither time nor memory is needed. Random numbers are drawn
    before, on the CPU, as in any training.
    """
    padded = (800, 1344)
    sizes = [(800 - 3 * i, 1333 - 5 * i) for i in range(images)]
    counts = [1 + 3 * i % 7 for i in range(images)]
    boxes = [torch.rand(count, 4) * 800 for count in counts]
    labels = [torch.zeros(count, dtype=torch.long) for count in counts]
    samples = ICD(PRIORS).draw(Targets(boxes, labels, sizes, padded), 0)
    with FakeTensorMode(allow_non_fake_inputs=True):
        method = ICD(PRIORS, **options)
        teacher, student = (
            [torch.empty(images, 256, *size) for size in level_sizes(padded, strides)]
            for _ in range(2)
        )
        for level in student:
            level.requires_grad_()
        targets = Targets(
            [torch.empty(count, 4) for count in counts],
            [torch.empty(count, dtype=torch.long) for count in counts],
            sizes,
            padded,
        )
        with Launches() as launches:
            queries = make_queries(targets, samples, method.jitter)
            losses = method.losses(teacher, student, targets, queries, detach=False)
            torch.stack(list(losses.values())).sum().backward()
    return launches.seen


@pytest.fixture(autouse=True)
def _in_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU; only a CPU works in blocks."""
    monkeypatch.setattr(fast, "CPU_BLOCK", sys.maxsize)


@pytest.mark.parametrize("strides", [P3_P7, P2_P6], ids=["P3-P7", "P2-P6"])
def test_neither_images_nor_the_pyramid_change_the_number_of_launches(
    strides: Sequence[int],
) -> None:
    few, many = (sum(step(images, strides).values()) for images in (4, 16))
    assert few == many <= MOST
