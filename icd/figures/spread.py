"""From weights of a pyramid's cells to a density over the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from icd.methods.tokens import Size


def spread(weights: Tensor, sizes: Sequence[Size], strides: Sequence[int], image: Size) -> Tensor:
    """The share of each pixel in the weights [..., L] of all levels: [..., height, width].

    The weight of a cell is spread evenly over the pixels that it covers, and the levels are added
    up; so a cell of a coarse level counts as much as a fine one, on more pixels. The result is a
    density: it sums to 1 over the image, or to 0 where there are no weights.

    Args:
        sizes: rows and columns of each level; their products sum to L.
        strides: pixels from cell to cell of each level.
        image: (height, width) of the image in pixels.
    """
    levels = weights.split([rows * columns for rows, columns in sizes], dim=-1)
    total = weights.new_zeros(*weights.shape[:-1], *image)
    for level, size, stride in zip(levels, sizes, strides, strict=True):
        down, across = (
            cover(cells, stride, extent).to(weights)
            for cells, extent in zip(size, image, strict=True)
        )
        total += down @ level.unflatten(-1, size) @ across.T
    mass = total.sum(dim=(-2, -1), keepdim=True)
    return total / mass.where(mass > 0, 1)


def cover(cells: int, stride: float, extent: int) -> Tensor:
    """[extent, cells]: the share of each pixel in a cell, for one axis; columns sum to 1.

    A cell beyond the image's edge, which sees it all the same, lies on its last pixel.
    """
    first = (torch.arange(cells) * stride).clamp(max=extent - 1)
    last = (first + stride).clamp(max=extent)
    pixel = torch.arange(extent)[:, None]
    covered = ((first <= pixel) & (pixel < last)).double()
    return covered / covered.sum(dim=0)
