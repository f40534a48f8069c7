"""Weights of cells over the image, against loops over cells and pixels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from icd.figures.spread import cover, spread
from icd.methods.tokens import Targets, tokenize
from icd.methods.where import foreground

# Padded size, image in it, (rows, columns) and stride of each level.
SHAPES = [
    ((64, 64), (64, 64), [(8, 8), (4, 4), (2, 2), (1, 1), (1, 1)], [8, 16, 32, 64, 128]),
    ((64, 96), (50, 81), [(8, 12), (4, 6), (2, 3), (1, 2)], [8, 16, 32, 64]),
]


def slowly(weights: Tensor, image: tuple, sizes: list, strides: list) -> Tensor:
    """Cell by cell: its weight in equal parts to the pixels of the image whose centres it holds."""
    total, place = torch.zeros(image, dtype=torch.float64), 0
    for (rows, columns), stride in zip(sizes, strides, strict=True):
        for row in range(rows):
            for column in range(columns):
                top = min(row * stride, image[0] - 1)
                left = min(column * stride, image[1] - 1)
                cell = total[top : (row + 1) * stride, left : (column + 1) * stride]
                if top >= (row + 1) * stride or left >= (column + 1) * stride:
                    raise AssertionError
                cell += weights[place] / cell.numel()
                place += 1
    return total / total.sum()


@pytest.mark.parametrize(("padded", "image", "sizes", "strides"), SHAPES)
def test_is_what_loops_over_cells_give(padded, image, sizes, strides):
    count = sum(rows * columns for rows, columns in sizes)
    weights = torch.rand(3, count, generator=torch.Generator().manual_seed(0)).double()
    found = spread(weights, sizes, strides, image)
    assert found.shape == (3, *image)
    for ours, mine in zip(found, weights, strict=True):
        torch.testing.assert_close(ours, slowly(mine, image, sizes, strides))


@pytest.mark.parametrize(("padded", "image", "sizes", "strides"), SHAPES)
def test_attention_sums_to_one_over_the_image(padded, image, sizes, strides):
    levels = [torch.zeros(1, 1, *size) for size in sizes]
    valid = tokenize(levels, [image], padded).valid
    logits = torch.randn(8, valid.shape[1], generator=torch.Generator().manual_seed(0)).double()
    attention = logits.masked_fill(~valid, -torch.inf).softmax(dim=-1)
    found = spread(attention, sizes, strides, image)
    torch.testing.assert_close(found.sum(dim=(1, 2)), torch.ones(8).double())
    assert (found >= 0).all()


def test_a_cell_counts_the_same_on_every_level():
    _, image, sizes, strides = SHAPES[0]
    weights = torch.zeros(sum(rows * columns for rows, columns in sizes)).double()
    weights[0], weights[-1] = 1, 1  # 8 x 8 pixels in the corner, and all of the image
    found = spread(weights, sizes, strides, image)
    assert found[:8, :8].sum() == pytest.approx(0.5 + 0.5 * 64 / 64**2)
    assert found[8:].sum() + found[:8, 8:].sum() == pytest.approx(0.5 * (1 - 64 / 64**2))


def test_foreground_is_the_boxes():
    """For a box that fits the cells of a single level; no other pixel has a share."""
    box = torch.tensor([[8.0, 16.0, 40.0, 48.0]])
    targets = Targets([box], [torch.tensor([0])], [(64, 64)], (64, 64), [8])
    levels = [torch.zeros(1, 4, 8, 8)]
    weights = foreground(levels, levels, targets, torch.ones(1, 64).bool())
    found = spread(weights[0, 0].double(), [(8, 8)], [8], (64, 64))
    expected = torch.zeros(64, 64).double()
    expected[16:48, 8:40] = 1 / 32**2
    torch.testing.assert_close(found, expected)


def test_nothing_stays_nothing():
    assert (spread(torch.zeros(4), [(2, 2)], [8], (16, 16)) == 0).all()


@pytest.mark.parametrize("extent", [16, 17, 24, 25, 32, 3])
def test_every_cell_lies_on_some_pixels(extent):
    covered = cover(math.ceil(extent / 8) + 1, 8, extent)  # one is beyond the image
    assert covered.shape[0] == extent
    torch.testing.assert_close(covered.sum(dim=0), torch.ones(covered.shape[1]).double())
