"""Methods on predictions on a real GPU: the values of the CPU, without waiting for the device."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from icd.methods.bckd import BCKD
from icd.methods.crosskd import CrossKD
from icd.methods.ld import LD
from tests.devices import DEVICES
from tests.gpu.test_methods_on_gpu import no_waiting
from tests.methods.batches import total
from tests.methods.dense import DenseBatch, dense_batch, run_dense

pytestmark = pytest.mark.parametrize("device", DEVICES)


@pytest.mark.parametrize("bins", [None, 9], ids=["deltas", "distributions"])
@pytest.mark.parametrize("build", [BCKD, CrossKD, LD])
def test_values_and_gradients_are_those_of_the_cpu(
    device: str, build: Callable[[], nn.Module], bins: int | None
) -> None:
    if build is LD and bins is None:
        pytest.skip("LD needs distributions")
    first, given = (dense_batch(bins=bins, dtype=torch.float32, device=device) for _ in range(2))
    expected = step(build(), dense_batch(bins=bins, dtype=torch.float32))
    step(build(), first)  # in which libraries start
    with no_waiting(device):
        found = step(build(), given)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-3, atol=1e-5)


def step(method: nn.Module, given: DenseBatch) -> list[Tensor]:
    """The losses, then their gradients."""
    losses = run_dense(method, given)
    gradients = torch.autograd.grad(
        total(losses), given.learning, allow_unused=True, materialize_grads=True
    )
    return [*losses.values(), *gradients]
