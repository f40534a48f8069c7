"""Every test in this folder runs mmdet on the CPU."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _on_the_cpu(mmdet_on_the_cpu: None) -> None:
    """Results are compared to the bit, so no GPU is used."""
