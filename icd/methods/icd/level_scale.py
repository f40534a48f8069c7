"""Levels of a teacher with equal magnitudes, which the paper does not have."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

from icd.methods.tokens import full_precision, sizes_of

SMALLEST = 1e-6  # RMS of a level, so that one of zeros stays zero


class LevelScale(nn.Module):
    """Divides each level of a frozen teacher by its root mean square (RMS).

    Mean squares are averages over all training iterations so far, kept in the checkpoint. With
    gradient accumulation, each share counts as an iteration.
    """

    mean_square: Tensor  # [levels]
    batches: Tensor  # how many it is the mean of

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.register_buffer("mean_square", torch.ones(levels))
        self.register_buffer("batches", torch.zeros(()))

    @torch.no_grad()
    def observe(self, levels: Sequence[Tensor], valid: Tensor) -> None:
        """Take a batch of levels [N, C, h, w] into account, at its valid [N, L] tokens.

        All processes contribute equally and have the same mean squares.
        """
        cells = [rows * columns for rows, columns in sizes_of(levels)]
        squares = torch.stack(
            [
                (full_precision(level).square().mean(dim=1).flatten(1) * own).sum() / own.sum()
                for level, own in zip(levels, valid.split(cells, dim=1), strict=True)
            ]
        )
        all_reduce(squares, op="mean")
        self.batches += 1
        self.mean_square += (squares - self.mean_square) / self.batches

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """The levels divided by their RMS."""
        rms = self.mean_square.sqrt().clamp(min=SMALLEST)
        return [level / own.to(level.dtype) for level, own in zip(levels, rms, strict=True)]
