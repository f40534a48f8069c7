"""The benchmark of memory counts what autograd keeps, each tensor once."""

from __future__ import annotations

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from benchmarks.memory import kept


class Tiny(BaseModel):
    """A convolution whose output is squared."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 1)

    def forward(self, inputs: Tensor, mode: str = "loss") -> dict[str, Tensor]:
        output = self.conv(inputs)
        return {"loss": (output * output).sum()}


def test_counts_activations_without_weights() -> None:
    """Its input, and its output, which the product keeps twice."""
    for images in (1, 2):
        data = {"inputs": torch.ones(images, 3, 8, 8)}
        assert kept(Tiny(), data) == 4 * images * 64 * (3 + 5)
