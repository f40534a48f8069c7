"""The replacement of ``mmcv._ext`` is tested through mmcv, so not where a compiled one is there."""

from __future__ import annotations

import importlib.machinery

import mmcv
import pytest


@pytest.fixture(autouse=True)
def _replaced() -> None:
    """Skip where mmcv has its compiled operators."""
    if importlib.machinery.PathFinder.find_spec("mmcv._ext", mmcv.__path__) is not None:
        pytest.skip("mmcv is installed with its compiled operators")
