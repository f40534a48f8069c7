"""Learning rates by the names of parameters, against mmengine's own constructor."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper, build_optim_wrapper
from torch import nn

from icd.errors import InputError
from icd.experiments.base import validate
from icd.experiments.recipe import Optimizer
from icd.training import rate_factors  # noqa: F401  (registers the constructor)
from icd.training.optimisation import optim_wrapper
from tests.training.detrs import built

ADAMW = {"type": "AdamW", "lr": 2.0e-4, "weight_decay": 1.0e-4, "clip": 0.1}
FACTORS = {
    "backbone": 0.1,
    "sampling_offsets": 0.1,
    "reference_points": 0.2,
    "reference_points_fc.bias": 0.0,
}


def wrapper(**changes: Any) -> dict[str, Any]:
    return optim_wrapper(validate(Optimizer, ADAMW | changes, "track.yaml"))


def settings(model: nn.Module, wrapper: OptimWrapper) -> dict[str, tuple[float, float]]:
    """Rate and decay of each parameter by its name."""
    of = {
        parameter: (group["lr"], group["weight_decay"])
        for group in wrapper.optimizer.param_groups
        for parameter in group["params"]
    }
    return {name: of[p] for name, p in model.named_parameters()}


@pytest.mark.parametrize("decay", [None, 0.0])
def test_rates_and_decays_are_those_of_mmengine(decay: float | None) -> None:
    model = built("deformable", seed=1).requires_grad_(True)  # mmengine leaves frozen ones alone
    config = wrapper(lr_mult=FACTORS, **({} if decay is None else {"norm_decay_mult": decay}))
    plain = {k: v for k, v in config.items() if k not in ("constructor", "paramwise_cfg")}
    theirs = DefaultOptimWrapperConstructor(plain, config["paramwise_cfg"])(model)
    ours = build_optim_wrapper(model, config)
    found, expected = settings(model, ours), settings(model, theirs)
    words = tuple(FACTORS)
    for name, (rate, one_decay) in found.items():
        assert rate == pytest.approx(expected[name][0], rel=1e-12)
        chosen = any(word in name for word in words)  # mmengine applies either factor, not both
        assert chosen or one_decay == expected[name][1]
    assert found["reference_points_fc.weight"][0] == pytest.approx(4e-5)
    assert found["reference_points_fc.bias"][0] == 0  # the longest word
    assert found["backbone.bn1.weight"] == pytest.approx((2e-5, 1e-4 if decay is None else 0))
    assert len(ours.optimizer.param_groups) <= 8
    assert len(theirs.optimizer.param_groups) > 100


def test_without_factors_nothing_changes() -> None:
    assert "constructor" not in wrapper()
    assert validate(Optimizer, ADAMW, "track.yaml").model_dump(exclude_defaults=True) == ADAMW


def test_a_factor_that_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match=r"lr_mult\.backbone: is 'low'"):
        wrapper(lr_mult={"backbone": "low"})
