"""PyTorch's global settings of a training's arithmetic on GPUs, and what they are.

Only GPUs depend on them, except that deterministic algorithms are also chosen on the CPU.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from torch.backends import cudnn

# Without it, cuBLAS may add in another order in each call. It is read when cuBLAS starts.
CUBLAS = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


@contextmanager
def settings(tf32: bool, deterministic: bool) -> Iterator[None]:
    """Set everything within the block, and restore what was set before.

    cuDNN never tries out algorithms (``benchmark``): each size of images would be tried anew, and
    the choice, with its rounding, would depend on the timing.

    Args:
        tf32: round the factors of float32 products to 10 bits, for convolutions (where PyTorch's
            default is true) and matrix products (where it is false) alike.
        deterministic: use deterministic algorithms. Operators that have none only warn.
    """
    before = _current()
    if deterministic:
        os.environ.update(CUBLAS)
    _set(_Settings("high" if tf32 else "highest", tf32, deterministic, deterministic, True, False))
    try:
        yield
    finally:
        _set(before)


class _Settings(NamedTuple):
    matmul: str
    cudnn_tf32: bool
    cudnn_deterministic: bool
    deterministic: bool
    warn_only: bool
    benchmark: bool


def _current() -> _Settings:
    return _Settings(
        torch.get_float32_matmul_precision(),
        cudnn.allow_tf32,
        cudnn.deterministic,
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn.benchmark,
    )


def _set(chosen: _Settings) -> None:
    torch.set_float32_matmul_precision(chosen.matmul)
    cudnn.allow_tf32 = chosen.cudnn_tf32
    cudnn.deterministic = chosen.cudnn_deterministic
    torch.use_deterministic_algorithms(chosen.deterministic, warn_only=chosen.warn_only)
    cudnn.benchmark = chosen.benchmark


def record(config: Config) -> dict[str, Any]:
    """The arithmetic of a training with this config, for its manifest."""
    now = _current()
    return {
        "precision": config.precision,
        "memory_format": "channels_last" if config.channels_last else "contiguous",
        "tf32": {"matmul": now.matmul != "highest", "cudnn": now.cudnn_tf32},
        "deterministic": now.deterministic,
        "cudnn_benchmark": now.benchmark,
        "processes": get_world_size(),
        "accumulate": config.accumulate,
    }
