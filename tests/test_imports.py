"""Which packages need which: planning, data and processes must not wait for torch."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from icd.experiments.schema import ROOT

HEAVY = ("torch", "mmengine", "mmcv", "mmdet")


@pytest.mark.parametrize("package", ["data", "process"])
def test_imports_without_torch(package: str) -> None:
    modules = [module_name(file) for file in sorted((ROOT / "icd" / package).glob("*.py"))]
    code = f"import {', '.join(modules)}, sys; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {*HEAVY} & {*result.stdout.split()}


@pytest.mark.parametrize("package", ["data", "process"])
def test_needs_no_package_above_it(package: str) -> None:
    for file in (ROOT / "icd" / package).glob("*.py"):
        needed = set(re.findall(r"from icd\.(\w+)", file.read_text()))
        assert needed <= {package, "errors", "files"}, file


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)
