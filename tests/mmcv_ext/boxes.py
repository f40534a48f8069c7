"""Random boxes for tests of operators."""

from __future__ import annotations

import torch
from torch import Tensor


def random_boxes(count: int, size: float = 100.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Boxes (count, 4) in an image of `size` pixels and distinct scores (count,), float32."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * size * 0.7
    extent = torch.rand(count, 2, generator=generator) * size * 0.5
    scores = (torch.randperm(count, generator=generator) + 1.0) / count
    return torch.cat([corner, corner + extent], dim=1), scores
