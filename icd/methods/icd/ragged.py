"""Queries of several images, as many as each has: one after another, or padded to a block."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def pad(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """The rows [Q, ...] of all images as [N, max K_i, ...], zero where an image has no more."""
    if len(set(counts)) == 1:
        return rows.unflatten(0, (len(counts), counts[0]))
    return pad_sequence(list(rows.split(list(counts))), batch_first=True)


def unpad(block: Tensor, counts: Sequence[int]) -> Tensor:
    """The rows [Q, ...] of all images, from [N, max K_i, ...]."""
    if set(counts) == {block.shape[1]}:
        return block.flatten(0, 1)
    return torch.cat([rows[:count] for rows, count in zip(block, counts, strict=True)])
