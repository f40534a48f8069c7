"""Shared set-up: one thread per test process, the operators of mmcv without a compiler."""

from __future__ import annotations

import torch

from icd import ops

torch.set_num_threads(1)
ops.install()
