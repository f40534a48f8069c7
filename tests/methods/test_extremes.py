"""ICD on extreme input: no or many objects, tiny images, huge features, bfloat16."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from icd.methods import tokens
from icd.methods.icd import fast
from icd.methods.icd.method import ICD
from icd.methods.where import Where
from tests.methods.batches import (
    PRIORS,
    Batch,
    gradient,
    random_batch,
    random_method,
    run,
    total,
    with_gradients,
)


def in_bfloat16(batch: Batch) -> Batch:
    """The same batch with features as networks in bfloat16 give them."""
    return Batch(
        [level.bfloat16() for level in batch.teacher],
        [level.bfloat16() for level in batch.student],
        batch.targets,
    )


def run_in(precision: str, method: ICD, batch: Batch) -> dict[str, Tensor]:
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        return run(method, batch)


def require_finite(losses: dict[str, Tensor], method: ICD, batch: Batch) -> None:
    """The losses and, computed here, their gradients."""
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())
    total(losses).backward()
    for tensor in (*method.parameters(), *batch.student):
        assert gradient(tensor).isfinite().all()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("heads", [1, 16])
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize(
    "shape",
    [
        {"counts": (0,), "sizes": ((96, 128),)},
        {"counts": (1,), "sizes": ((96, 128),)},
        {"counts": (0, 0), "sizes": ((96, 128), (40, 50))},
        {"counts": (400, 0), "sizes": ((96, 128), (40, 50))},
        {"levels": ((1, 1),) * 5},
        {"levels": ((1, 1),)},
        {"sizes": ((3, 2), (1, 1), (96, 1))},
        {"padded": (2000, 3000), "levels": ((12, 16), (6, 8))},
    ],
    ids=[
        "no object",
        "one object",
        "no objects in two",
        "hundreds of objects",
        "levels of 1x1",
        "one token",
        "tiny images",
        "much padding",
    ],
)
def test_losses_and_gradients_stay_finite(
    shape: dict[str, Any], normalise: bool, heads: int, precision: str
) -> None:
    method, batch = random_method(heads=heads, normalise=normalise), random_batch(**shape)
    batch = with_gradients(in_bfloat16(batch) if precision == "bfloat16" else batch)
    require_finite(run_in(precision, method, batch), method, batch)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("where", get_args(Where))
def test_levels_without_a_valid_cell_are_finite(
    where: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our count of valid cells rounds up, so no level has none; nothing relies on that."""
    count = tokens.cell_counts

    def none_on_small_levels(*args: Any) -> list[tuple[int, int]]:
        return count(*args) if args[2][0] > 3 else [(0, 0) for _ in count(*args)]

    monkeypatch.setattr(tokens, "cell_counts", none_on_small_levels)
    method, batch = random_method(where=where), random_batch()
    batch = with_gradients(in_bfloat16(batch) if precision == "bfloat16" else batch)
    require_finite(run_in(precision, method, batch), method, batch)
    assert not any(gradient(level).any() for level in batch.student if level.shape[2] <= 3)
    assert gradient(batch.student[0]).any()


def test_a_batch_without_objects_costs_identification_alone() -> None:
    losses = run(random_method(layers=2), random_batch((0, 0, 0)))
    assert losses["loss_identification"] > 0
    assert losses["loss_localisation"] == 0
    assert losses["loss_distillation"] == 0


def test_huge_features_keep_the_losses_finite() -> None:
    batch = random_batch()
    huge = Batch([1e4 * x for x in batch.teacher], [1e4 * x for x in batch.student], batch.targets)
    assert all(loss.isfinite() for loss in run(random_method(), huge).values())


@pytest.mark.parametrize("block", [None, 32 * 40], ids=["a block", "blocks of 40 tokens"])
@pytest.mark.parametrize("features", ["bfloat16", "float32"])
@pytest.mark.parametrize("layers", [0, 1, 2])
def test_bfloat16_autocast_stays_close_to_single_precision(
    layers: int, features: str, block: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of features in float32, as training has them, in images with many tokens."""
    if block:
        monkeypatch.setattr(fast, "CPU_BLOCK", block)
    torch.manual_seed(0)
    method = ICD(PRIORS, channels=32, heads=4, layers=layers, warmup=0)
    batch = random_batch(channels=32)
    expected = run(method, batch)
    half = with_gradients(in_bfloat16(batch) if features == "bfloat16" else batch)
    losses = run_in("bfloat16", method, half)
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name], rtol=0.02, atol=0)
    require_finite(losses, method, half)


def test_state_holds_the_parameters_and_nothing_else() -> None:
    method = random_method()
    assert set(method.state_dict()) == {name for name, _ in method.named_parameters()}
    assert all(isinstance(p, nn.Parameter) for p in method.parameters())
