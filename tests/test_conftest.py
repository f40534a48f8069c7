"""The set-up of all tests: a process that has met fake tensors can still be forked."""

from __future__ import annotations

import subprocess
import sys

from icd.experiments.yaml_files import ROOT

FORK = """
import os
import torch
from torch._subclasses import FakeTensorMode
import tests.conftest

with FakeTensorMode():
    torch.zeros(1, device="cuda")
step = torch.zeros((), requires_grad=True)
step.backward()
if child := os.fork():
    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
step.backward()
"""


def test_a_forked_test_process_computes_gradients() -> None:
    """Even after fake tensors, which torch.export and the tests of the GPU use."""
    subprocess.run([sys.executable, "-c", FORK], cwd=ROOT, check=True)
