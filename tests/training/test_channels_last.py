"""Strided 1x1 convolutions of few channels: the same sums, within the bounds of the memory."""

from __future__ import annotations

import copy
import subprocess
import sys
from ctypes.util import find_library

import pytest
import torch
from torch import nn

from icd.experiments.yaml_files import ROOT
from icd.training.channels_last import to_channels_last

# glibc's checks of the heap, which end a process that has written out of bounds; empty without them
CHECKS = find_library("c_malloc_debug") or ""

STEPS = """
import torch
from torch import nn
from icd.training.channels_last import to_channels_last

torch.set_num_threads(1)
for channels in (2, 3, 4, 5, 7, 8, 12):
    conv = nn.Conv2d(channels, 8, 1, 2, bias=False)
    to_channels_last(conv)
    for _ in range(50):
        pixels = torch.randn(2, channels, 64, 64).to(memory_format=torch.channels_last)
        conv(pixels.requires_grad_()).sum().backward()
"""


@pytest.mark.parametrize("changed", [
    {},
    {"stride": (1, 2)},
    {"groups": 4, "in_channels": 16},
    {"in_channels": 16},
    {"kernel_size": 3, "padding": 1},
    {"padding": 1},
    {"stride": 1},
])  # fmt: skip
def test_gives_the_same_outputs_and_gradients(changed: dict) -> None:
    torch.manual_seed(0)
    arguments = {"in_channels": 4, "out_channels": 8, "kernel_size": 1, "stride": 2} | changed
    expected = nn.Conv2d(**arguments).double()
    conv = copy.deepcopy(expected)
    to_channels_last(conv)
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)
    inputs = torch.randn(2, expected.in_channels, 9, 11, dtype=torch.float64)
    results = []
    for one in (conv, expected):
        leaf = inputs.clone().requires_grad_()
        output = one(leaf)
        output.sin().sum().backward()
        results.append([output, leaf.grad, *(weight.grad for weight in one.parameters())])
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted)


def test_only_changes_convolutions_that_onednn_computes_out_of_bounds() -> None:
    models = nn.Sequential(
        nn.Conv2d(8, 16, 1, 2), nn.Conv2d(16, 16, 1, 2), nn.Conv2d(8, 16, 3, 2), nn.Conv2d(8, 8, 1)
    )
    to_channels_last(models)
    assert [conv.stride for conv in models] == [(1, 1), (2, 2), (2, 2), (1, 1)]
    assert [len(conv._forward_pre_hooks) for conv in models] == [1, 0, 0, 0]


@pytest.mark.skipif(not CHECKS, reason="needs glibc's checks of the heap")
def test_writes_within_bounds() -> None:
    environment = {"LD_PRELOAD": CHECKS, "MALLOC_CHECK_": "3", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", STEPS], env=environment, check=True)
