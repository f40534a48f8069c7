"""The FPN levels of a batch as one sequence of tokens (section 3.1 of the paper)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

Size = tuple[int, int]


@dataclass(frozen=True)
class Tokens:
    """Flattened feature pyramid of N images: L tokens of C channels, level after level.

    features: [N, L, C], the matrix A of the paper.
    position: [N, L, C], the sine embedding P of each token's place in its own level.
    valid: [N, L] bool, False where a token lies wholly in the padding of its image.
    """

    features: Tensor
    position: Tensor
    valid: Tensor


def flatten_levels(levels: Sequence[Tensor]) -> Tensor:
    """FPN levels, each [N, C, h, w], as one [N, L, C] with L the sum of all h * w."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)


def tokenize(levels: Sequence[Tensor], image_sizes: Sequence[Size], padded_size: Size) -> Tokens:
    """Features, positions and validity of all tokens of a batch.

    Args:
        levels: FPN levels, each [N, C, h, w].
        image_sizes: true (height, width) of each image in pixels, without padding.
        padded_size: (height, width) in pixels of the padded batch.
    """
    cells = [
        valid_cells(image_sizes, padded_size, level.shape[-2:], level.device) for level in levels
    ]
    pairs = list(zip(cells, levels, strict=True))
    return Tokens(
        features=flatten_levels(levels),
        position=torch.cat([sine_position(*counts, level) for counts, level in pairs], dim=1),
        valid=torch.cat([inside(*counts, level.shape[-2:]) for counts, level in pairs], dim=1),
    )


def valid_tokens(
    levels: Sequence[Tensor], image_sizes: Sequence[Size], padded_size: Size
) -> Tensor:
    """[N, L] bool, False where a token lies wholly in the padding; arguments as of `tokenize`.

    Not to be written to: the next batch of the same sizes gets the same tensor.
    """
    sizes = tuple(tuple(level.shape[-2:]) for level in levels)
    images = tuple(tuple(size) for size in image_sizes)
    return _valid_tokens(sizes, images, tuple(padded_size), levels[0].device)


@lru_cache(maxsize=8)  # FGD and CWD ask level by level
def _valid_tokens(
    level_sizes: Sequence[Size],
    image_sizes: Sequence[Size],
    padded_size: Size,
    device: torch.device,
) -> Tensor:
    return torch.cat(
        [
            inside(*valid_cells(image_sizes, padded_size, size, device), size)
            for size in level_sizes
        ],
        dim=1,
    )


def inside(rows: Tensor, columns: Tensor, size: Size) -> Tensor:
    """[N, h * w] bool, True for the first ``rows`` and ``columns`` of a level of this size."""
    y, x = (torch.arange(extent, device=rows.device) for extent in size)
    return ((y < rows[:, None])[:, :, None] & (x < columns[:, None])[:, None, :]).flatten(1)


def valid_cells(
    image_sizes: Sequence[Size], padded_size: Size, level_size: Size, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Number of rows and of columns of a level, each [N], that see the true image."""
    counts = torch.tensor(cell_counts(image_sizes, padded_size, level_size))
    rows, columns = counts.to(device, non_blocking=True).unbind(dim=1)
    return rows, columns


def cell_counts(
    image_sizes: Sequence[Size], padded_size: Size, level_size: Size
) -> list[tuple[int, int]]:
    """The same as numbers: (rows, columns) of each image."""
    stride = (padded_size[0] / level_size[0] + padded_size[1] / level_size[1]) / 2
    return [
        tuple(
            min(math.ceil(extent / stride), cells)
            for extent, cells in zip(size, level_size, strict=True)
        )
        for size in image_sizes
    ]


def sine_position(rows: Tensor, columns: Tensor, level: Tensor) -> Tensor:
    """Sine embedding of DETR, normalised over the valid cells: [N, h * w, C], y half first."""
    height, width = level.shape[-2:]
    y, x = sine_axes(rows, columns, level)
    y = y[:, :, None, :].expand(-1, -1, width, -1)
    x = x[:, None, :, :].expand(-1, height, -1, -1)
    return torch.cat([y, x], dim=-1).flatten(1, 2)


def sine_axes(rows: Tensor, columns: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """The halves of that embedding: of each row [N, h, C / 2] and of each column [N, w, C / 2]."""
    _, channels, height, width = level.shape
    y = _sine_axis(rows, height, channels // 2, level.dtype)
    x = _sine_axis(columns, width, channels // 2, level.dtype)
    return y, x


def _sine_axis(count: Tensor, length: int, channels: int, dtype: torch.dtype) -> Tensor:
    """[N, length, channels]: cell k of ``count`` valid ones at angle 2 pi k / count, k from 1."""
    # In bfloat16 neither cells beyond 256 nor frequencies are exact, whatever dtype features have.
    dtype = torch.promote_types(dtype, torch.float32)
    cell = torch.arange(1, length + 1, device=count.device).minimum(count[:, None]).to(dtype)
    angle = cell / (count[:, None].to(dtype) + 1e-6) * 2 * math.pi
    exponent = (torch.arange(channels, device=count.device) // 2 * 2).to(dtype) / channels
    angle = angle[..., None] / 10000**exponent
    return torch.where(
        torch.arange(channels, device=count.device) % 2 == 0, angle.sin(), angle.cos()
    )
