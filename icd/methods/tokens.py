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
P3_P7 = (8, 16, 32, 64, 128)  # strides of the levels of one-stage detectors


@dataclass(frozen=True)
class Targets:
    """Annotations of N augmented images, in their pixels.

    boxes: N tensors [n_i, 4], corners x1 y1 x2 y2.
    labels: N tensors [n_i] of class indices from 0.
    image_sizes: N times (height, width), without padding.
    padded_size: (height, width) of the batch.
    strides: pixels from cell to cell of each level that a method distils.
    """

    boxes: Sequence[Tensor]
    labels: Sequence[Tensor]
    image_sizes: Sequence[Size]
    padded_size: Size
    strides: Sequence[int]


@dataclass(frozen=True)
class Tokens:
    """The tokens of N images and where they are.

    levels: FPN levels, each [N, C, h, w].
    row_sines, column_sines: sine embeddings of the rows of all levels [N, R, C / 2] and of their
        columns [N, S, C / 2].
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


def cell_counts(image_sizes: Sequence[Size], padded_size: Size, level_size: Size) -> list[Size]:
    """Rows and columns of a level that see each image.

    The published code divides by the mean of padded size over level size, not by the stride.
    """
    rows, columns = level_size
    ratio = (padded_size[0] / rows + padded_size[1] / columns) / 2
    return [
        (min(math.ceil(height / ratio), rows), min(math.ceil(width / ratio), columns))
        for height, width in image_sizes
    ]


def pad(rows: Sequence[Tensor], counts: Sequence[int], slots: int) -> Tensor:
    """Rows [count, ...] of each of N images as [N, slots, ...], zero where there are no more."""
    count, slot = np.array(counts)[:, None], np.arange(slots)
    index = np.where(slot < count, count.cumsum()[:, None] - count + slot, sum(counts))
    zero = rows[0].new_zeros(1, *rows[0].shape[1:])
    return torch.cat([*rows, zero])[torch.tensor(index).to(zero.device, non_blocking=True)]


def padded_boxes(targets: Targets) -> Tensor:
    """The boxes of all images as [N, K, 4]; unused slots hold empty boxes at the origin."""
    counts = [len(boxes) for boxes in targets.boxes]
    return pad(targets.boxes, counts, max(counts))


def tokenize(levels: Sequence[Tensor], image_sizes: Sequence[Size], padded_size: Size) -> Tokens:
    """The tokens of FPN levels [N, C, h, w]; the sizes are those of :class:`Targets`."""
    # Lines are the rows of all levels, then their columns. Each has a number in its level, from 1,
    # of which the first count see the image. This needs no kernel launch per level or image.
    sizes = np.array(sizes_of(levels))
    lengths = sizes.T.flatten()
    line = np.arange(len(lengths)).repeat(lengths)
    number = 1 + np.arange(len(line)) - (lengths.cumsum() - lengths)[line]
    seen = np.array([cell_counts(image_sizes, padded_size, (h, w)) for h, w in sizes.tolist()])
    count = seen.transpose(1, 2, 0).reshape(len(image_sizes), -1)[:, line]
    before = (sizes.cumsum(axis=0) - sizes)[..., None]
    cells = [np.indices(size).reshape(2, -1) + n for size, n in zip(sizes, before, strict=True)]
    row, column, numbers, counts = (
        torch.tensor(x).to(levels[0].device, non_blocking=True)
        for x in (*np.concatenate(cells, axis=1), number, count)
    )
    rows, seen_lines = int(sizes[:, 0].sum()), numbers <= counts
    valid = seen_lines[:, row] & seen_lines[:, rows:][:, column]
    sines = sine_embedding(numbers, counts, levels[0].shape[1] // 2, levels[0].dtype)
    return Tokens(levels, sines[:, :rows], sines[:, rows:], row, column, valid)


def sine_embedding(number: Tensor, count: Tensor, channels: int, dtype: torch.dtype) -> Tensor:
    """DETR's embedding of lines, normalised over those that see the image: [N, lines, channels].

    Line k of n is at the angle 2 pi k / n. The result is in float32 at least: bfloat16 can neither
    count beyond 256 nor hold the frequencies.
    """
    dtype = torch.promote_types(dtype, torch.float32)
    angle = number.minimum(count).to(dtype) / (count.to(dtype) + 1e-6) * 2 * math.pi
    channel = torch.arange(channels, device=angle.device)
    angle = angle[..., None] / 10000 ** ((channel // 2 * 2).to(dtype) / channels)
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos())


def valid_levels(levels: Sequence[Tensor], targets: Targets) -> Sequence[Tensor]:
    """[N, h * w] bool of each level [N, C, h, w], False where a cell sees nothing but padding."""
    valid = tokenize(levels, targets.image_sizes, targets.padded_size).valid
    return valid.split([rows * columns for rows, columns in sizes_of(levels)], dim=1)
