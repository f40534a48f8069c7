"""Shared set-up: one thread per test process, mmcv without compiled operators, slow tests first."""

from __future__ import annotations

import pytest
import torch

from icd import mmcv_ext

torch.set_num_threads(1)
mmcv_ext.install()

pytest_plugins = ["tests.lab_fixtures"]

SLOWEST_FIRST = ("slurm", "slow")  # markers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest tests come first, so no process is left with them when the others are done."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    """Place of an item's slowest marker; a module of slow tests stays together."""
    names = {mark.name for mark in item.iter_markers()}
    return min(
        (i for i, name in enumerate(SLOWEST_FIRST) if name in names), default=len(SLOWEST_FIRST)
    )
