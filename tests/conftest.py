"""Shared set-up: one thread per test process, the operators of mmcv without a compiler."""

from __future__ import annotations

import pytest
import torch

from icd import mmcv_ext

torch.set_num_threads(1)
mmcv_ext.install()

pytest_plugins = ["tests.lab_fixtures"]

SLOWEST = ("cluster", "workflow", "training")  # folders


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest come first, so that no process is left with them when the other is done."""
    names = [item.path.parent.name for item in items]
    rank = {name: SLOWEST.index(name) if name in SLOWEST else len(SLOWEST) for name in names}
    items.sort(key=lambda item: rank[item.path.parent.name])
