"""Modules of data, processes and commands do not import torch."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.test_imports import ROOT, modules

HEAVY = {"torch", "mmengine", "mmcv", "mmdet"}


@pytest.mark.parametrize(
    "package", ["icd.data", "icd.new_track", "icd.process", "icd.upkeep", "icd.commands"]
)
def test_imports_without_torch(package: str) -> None:
    names = [name for name in modules() if name.startswith(f"{package}.")]
    code = f"import {', '.join(names)}, sys; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert not HEAVY & {*result.stdout.split()}


def test_a_plan_does_not_import_scipy() -> None:
    """Every call of Snakemake would wait for it."""
    lines = (ROOT / "workflow/rules/common.smk").read_text().splitlines()
    code = "\n".join(line for line in lines if line.startswith(("import icd", "from icd")))
    names = re.findall(r"^(?:from|import) (icd[\w.]*)", code, re.M)
    command = [sys.executable, "-c", f"import {', '.join(names)}, sys; print(*sys.modules)"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"scipy", *HEAVY} & {*result.stdout.split()}
