"""Shared set-up: one thread per test process, mmcv without compiled operators, slow tests first.

What is marked ``full`` runs only if it is asked for.

PyTorch begins its first backward pass by starting a thread for each device, and a process with such
threads cannot be forked and go on with gradients. Fake tensors, which torch.export uses too, make
it believe in a GPU; so the first backward pass comes before all tests.
"""

from __future__ import annotations

import pytest
import torch

from icd import mmcv_ext

torch.set_num_threads(1)
torch.zeros((), requires_grad=True).backward()
mmcv_ext.install()

pytest_plugins = ["tests.lab_fixtures"]

SLOWEST_FIRST = ("slurm", "slow")  # markers


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The slowest tests come first, so no process is left with them when the others are done."""
    items.sort(key=_rank)
    if "full" not in config.option.markexpr:
        config.hook.pytest_deselected(items=[one for one in items if _is_full(one)])
        items[:] = [one for one in items if not _is_full(one)]


def _is_full(item: pytest.Item) -> bool:
    return item.get_closest_marker("full") is not None


def _rank(item: pytest.Item) -> int:
    """Place of an item's slowest marker; a module of slow tests stays together."""
    names = {mark.name for mark in item.iter_markers()}
    return min(
        (i for i, name in enumerate(SLOWEST_FIRST) if name in names), default=len(SLOWEST_FIRST)
    )
