"""The precision in which operators compute."""

from __future__ import annotations

import torch
from torch import Tensor


def in_full_precision(tensor: Tensor) -> Tensor:
    """The tensor in float32 if it is in half or bfloat16, else itself."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
