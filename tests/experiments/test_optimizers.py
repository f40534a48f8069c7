"""The parsed optimisers are those of torch.optim."""

from __future__ import annotations

import inspect

import pytest
import torch

from icd.experiments.optimizers import NEEDS_CLOSURE, optimizers

NAMES = sorted(
    name
    for name, found in vars(torch.optim).items()
    if inspect.isclass(found) and issubclass(found, torch.optim.Optimizer)
)


def test_all_classes_are_found() -> None:
    assert optimizers().keys() == {*NAMES} - NEEDS_CLOSURE - {"Optimizer"}


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_arguments_are_those_of_the_constructor(name: str) -> None:
    expected = inspect.signature(getattr(torch.optim, name)).parameters
    assert optimizers()[name] == expected.keys() - {"params", "lr"}
