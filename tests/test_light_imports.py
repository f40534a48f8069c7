"""Data and process modules do not import torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.test_imports import ROOT, modules

HEAVY = {"torch", "mmengine", "mmcv", "mmdet"}


@pytest.mark.parametrize("package", ["icd.data", "icd.process"])
def test_imports_without_torch(package: str) -> None:
    names = [name for name in modules() if name.startswith(f"{package}.")]
    code = f"import {', '.join(names)}, sys; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert not HEAVY & {*result.stdout.split()}
