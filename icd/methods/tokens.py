"""What every method receives: ground truth, and feature pyramids as tokens (section 3.1).

A token is one cell of one FPN level. The L tokens of an image follow each other level by level and
row by row. A token is valid if its cell sees the image, not only the padding of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Size = tuple[int, int]  # (height, width), or rows and columns


@dataclass(frozen=True)
class Targets:
    """Annotations of N augmented images.

    boxes: N tensors [n_i, 4], corners x1 y1 x2 y2 in pixels of the augmented image.
    labels: N tensors [n_i] of class indices from 0.
    image_sizes: N times (height, width) in pixels, without padding.
    padded_size: (height, width) in pixels of the batch.
    """

    boxes: Sequence[Tensor]
    labels: Sequence[Tensor]
    image_sizes: Sequence[Size]
    padded_size: Size


@dataclass(frozen=True)
class Tokens:
    """The tokens of N images and where they are; R rows and S columns of all levels together.

    The sine embedding of a cell is that of its row, then that of its column.

    levels: FPN levels, each [N, C, h, w].
    row_sines, column_sines: embeddings [N, R, C / 2] and [N, S, C / 2].
    row, column: [L], the index of each token's row and column in these embeddings.
    valid: [N, L] bool.
    """

    levels: Sequence[Tensor]
    row_sines: Tensor
    column_sines: Tensor
    row: Tensor
    column: Tensor
    valid: Tensor

    @property
    def features(self) -> Tensor:
        """The matrix A of the paper, [N, L, C]; a copy of the levels."""
        return flatten_levels(self.levels)

    @property
    def position(self) -> Tensor:
        """The sine embedding P of each token's place in its own level, [N, L, C]."""
        return torch.cat([self.row_sines[:, self.row], self.column_sines[:, self.column]], dim=-1)


def full_precision(x: Tensor) -> Tensor:
    """``x`` in float32 at least: for losses, norms and softmax, whatever autocast chose."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def flatten_levels(levels: Sequence[Tensor]) -> Tensor:
    """FPN levels, each [N, C, h, w], as one [N, L, C] with L the sum of all h * w."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)


def sizes_of(levels: Sequence[Tensor]) -> list[Size]:
    """Rows and columns of each level."""
    return [(level.shape[-2], level.shape[-1]) for level in levels]


def level_strides(sizes: Sequence[Size], padded_size: Size) -> list[int]:
    """Pixels from cell to cell on each level of ``sizes`` rows and columns: a power of two.

    The ratio of the padded size to the level's size is smaller where the last cell reaches beyond
    the padded image.
    """
    ratios = (
        max(extent / cells for extent, cells in zip(padded_size, size, strict=True))
        for size in sizes
    )
    return [2 ** math.ceil(math.log2(ratio)) for ratio in ratios]


def cell_counts(image_sizes: Sequence[Size], padded_size: Size, level_size: Size) -> list[Size]:
    """Rows and columns of a level that see each image.

    As in the published code, cells count by the mean ratio of padded size to level size, which
    differs from :func:`level_strides` where the last cell reaches beyond the padded image.
    """
    ratio = (padded_size[0] / level_size[0] + padded_size[1] / level_size[1]) / 2
    return [
        (
            min(math.ceil(height / ratio), level_size[0]),
            min(math.ceil(width / ratio), level_size[1]),
        )
        for height, width in image_sizes
    ]


def tokenize(levels: Sequence[Tensor], image_sizes: Sequence[Size], padded_size: Size) -> Tokens:
    """The tokens of a batch.

    Args:
        levels: FPN levels, each [N, C, h, w].
        image_sizes: true (height, width) of each image in pixels, without padding.
        padded_size: (height, width) in pixels of the padded batch.
    """
    grid = Grid.of(levels, image_sizes, padded_size)
    sines = grid.sine_embedding(levels[0].shape[1] // 2, levels[0].dtype)
    rows, columns = sines[:, : grid.rows], sines[:, grid.rows :]
    return Tokens(levels, rows, columns, grid.row, grid.column, grid.valid)


def valid_tokens(
    levels: Sequence[Tensor], image_sizes: Sequence[Size], padded_size: Size
) -> Tensor:
    """[N, L] bool, False where a token sees nothing but padding; arguments as of `tokenize`."""
    return Grid.of(levels, image_sizes, padded_size).valid


def valid_levels(levels: Sequence[Tensor], targets: Targets) -> Sequence[Tensor]:
    """The same level by level, each [N, h * w]."""
    valid = valid_tokens(levels, targets.image_sizes, targets.padded_size)
    return valid.split([rows * columns for rows, columns in sizes_of(levels)], dim=1)


@dataclass(frozen=True)
class Grid:
    """Lines of cells: the R rows of all levels, then the S columns of all levels.

    rows: their number R.
    number: [R + S], the place of each line in its own level, from 1.
    count: [N, R + S], how many of the lines of its level and kind see the image.
    row, column: [L], for each token the index of its row and of its column.
    """

    rows: int
    number: Tensor
    count: Tensor
    row: Tensor
    column: Tensor

    @staticmethod
    def of(levels: Sequence[Tensor], image_sizes: Sequence[Size], padded_size: Size) -> Grid:
        """The lines of levels [N, C, h, w], counted on the host and then moved to the device."""
        sizes = np.array(sizes_of(levels))
        lengths = sizes.T.flatten()
        kind = np.arange(len(lengths)).repeat(lengths)
        number = 1 + np.arange(len(kind)) - (lengths.cumsum() - lengths)[kind]
        seen = np.array([cell_counts(image_sizes, padded_size, (h, w)) for h, w in sizes.tolist()])
        count = seen.transpose(1, 2, 0).reshape(len(image_sizes), -1)[:, kind]
        before = (sizes.cumsum(axis=0) - sizes)[..., None]
        index = np.concatenate(
            [
                np.indices(size).reshape(2, -1) + first
                for size, first in zip(sizes, before, strict=True)
            ],
            axis=1,
        )
        moved = (
            torch.tensor(x).to(levels[0].device, non_blocking=True) for x in (number, count, *index)
        )
        return Grid(int(sizes[:, 0].sum()), *moved)

    @property
    def valid(self) -> Tensor:
        """[N, L] bool, True where both the row and the column of a token see the image."""
        seen = self.number <= self.count
        return seen[:, self.row] & seen[:, self.rows :][:, self.column]

    def sine_embedding(self, channels: int, dtype: torch.dtype) -> Tensor:
        """DETR's embedding of all lines, normalised over valid cells: [N, R + S, channels].

        Line k of n is at the angle 2 pi k / n. The result is in float32 at least: bfloat16 can
        neither count beyond 256 nor hold the frequencies.
        """
        dtype = torch.promote_types(dtype, torch.float32)
        number = self.number.minimum(self.count).to(dtype)
        angle = number / (self.count.to(dtype) + 1e-6) * 2 * math.pi
        channel = torch.arange(channels, device=angle.device)
        angle = angle[..., None] / 10000 ** ((channel // 2 * 2).to(dtype) / channels)
        return torch.where(channel % 2 == 0, angle.sin(), angle.cos())
