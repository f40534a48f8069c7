"""A step never synchronises with the device: it reads no tensor value on the host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from icd.methods.tokens import Targets
from icd.methods.where import Where
from tests.methods.batches import Batch, random_batch, random_method, total

WAITS = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal", "_unique2")


class Waits(TorchDispatchMode):
    """Counts the operators whose result has to come from the device before Python goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if (name := func.overloadpacket.__name__) in WAITS:
            self.seen[name] += 1
        return func(*args, **(kwargs or {}))


def step(batch: Batch, device: str, **options: Any) -> Counter[str]:
    """What waits in forward and backward of the method."""
    method = random_method(**options).to(device)

    def there(tensors: Sequence[Tensor]) -> list[Tensor]:
        return [tensor.to(device) for tensor in tensors]

    targets = batch.targets
    targets = Targets(
        there(targets.boxes), there(targets.labels), targets.image_sizes, targets.padded_size
    )
    student = [level.requires_grad_() for level in there(batch.student)]
    with Waits() as waits:
        losses = method(there(batch.teacher), student, targets, iteration=0)
        total(losses).backward()
    return waits.seen


@pytest.mark.parametrize("options", [{"layers": 0}, {"layers": 2}, {"fakes": True}])
def test_reads_nothing(options: dict[str, Any]) -> None:
    assert not step(random_batch(), "cpu", **options)


@pytest.mark.parametrize("where", get_args(Where))
def test_runs_where_nothing_can_be_read(where: str) -> None:
    """Tensors on the meta device have no values."""
    assert not step(random_batch(), "meta", where=where)


def test_finds_what_waits() -> None:
    with Waits() as waits:
        torch.ones(1).item()
    assert waits.seen == {"_local_scalar_dense": 1}
