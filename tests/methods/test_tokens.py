"""The pyramid as a sequence: order, valid cells and sine positions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.layers.positional_encoding import SinePositionalEncoding
from torch import Tensor

from icd.methods.tokens import cell_counts, flatten_levels, tokenize
from tests.methods.batches import P2_P6, P3_P7, level_sizes

SIZES = [(96, 128), (70, 33), (5, 128)]
PADDED = (96, 128)


def pyramid(channels: int = 8, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    return [torch.randn(len(SIZES), channels, *hw).to(dtype) for hw in level_sizes(PADDED, P3_P7)]


def test_tokens_run_level_by_level_and_row_by_row() -> None:
    levels = pyramid()
    flat = flatten_levels(levels)
    assert flat.shape == (3, sum(level[0, 0].numel() for level in levels), 8)
    start = 0
    for level in levels:
        _, _, height, width = level.shape
        for y, x in ((0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1)):
            assert torch.equal(flat[:, start + y * width + x], level[:, :, y, x])
        start += height * width


def test_features_are_the_flattened_levels() -> None:
    levels = pyramid()
    tokens = tokenize(levels, SIZES, PADDED)
    assert torch.equal(tokens.features, flatten_levels(levels))
    assert tokens.position.shape == tokens.features.shape
    assert tokens.valid.shape == tokens.features.shape[:2]


@pytest.mark.parametrize("strides", [P3_P7, P2_P6])
def test_valid_cells_are_those_that_start_inside_the_image(strides: tuple[int, ...]) -> None:
    """With levels that divide the padded size, the stride is exact."""
    padded = (256, 384)
    sizes = [(256, 384), (1, 1), (129, 128), (200, 383), (64, 257)]
    levels = [torch.zeros(len(sizes), 4, *hw) for hw in level_sizes(padded, strides)]
    valid = tokenize(levels, sizes, padded).valid
    for i, (height, width) in enumerate(sizes):
        expected = [
            y * stride < height and x * stride < width
            for stride in strides
            for y in range(padded[0] // stride)
            for x in range(padded[1] // stride)
        ]
        assert valid[i].tolist() == expected


extents = st.integers(1, 500)
cells = st.integers(1, 40)


@given(st.tuples(extents, extents), st.tuples(extents, extents), st.tuples(cells, cells))
@settings(max_examples=60, deadline=None)
def test_valid_cells_use_the_mean_stride_of_both_axes(
    size: tuple[int, int], padding: tuple[int, int], level: tuple[int, int]
) -> None:
    padded = (size[0] + padding[0] - 1, size[1] + padding[1] - 1)
    (counts,) = cell_counts([size], padded, level)
    stride = (padded[0] / level[0] + padded[1] / level[1]) / 2
    for count, extent, length in zip(counts, size, level, strict=True):
        assert count == sum(row < math.ceil(extent / stride) for row in range(length))
        assert 1 <= count <= length


def test_an_image_without_padding_is_valid_throughout() -> None:
    assert tokenize(pyramid(), [PADDED] * 3, PADDED).valid.all()


@pytest.mark.parametrize("channels", [8, 12, 64])
def test_position_is_that_of_detr_on_valid_cells(channels: int) -> None:
    levels = pyramid(channels)
    tokens = tokenize(levels, SIZES, PADDED)
    detr = SinePositionalEncoding(num_feats=channels // 2, normalize=True)
    start = 0
    for level in levels:
        height, width = level.shape[2:]
        part = slice(start, start + height * width)
        valid = tokens.valid[:, part]
        theirs = detr(~valid.unflatten(1, (height, width))).flatten(2).transpose(1, 2)
        ours = tokens.position[:, part]
        torch.testing.assert_close(ours[valid], theirs[valid], rtol=0, atol=5e-6)
        start += height * width


def test_position_restarts_on_each_level() -> None:
    levels = pyramid()
    whole = tokenize(levels, SIZES, PADDED).position
    alone = [tokenize([level], SIZES, PADDED).position for level in levels]
    assert torch.equal(whole, torch.cat(alone, dim=1))


def test_position_depends_on_the_image_and_not_on_its_padding() -> None:
    """A 64 x 96 image in two sizes of padding, at the same stride of 8."""
    found = []
    for padded in ((64, 96), (96, 128)):
        level = torch.zeros(1, 8, padded[0] // 8, padded[1] // 8)
        tokens = tokenize([level], [(64, 96)], padded)
        found.append(tokens.position[tokens.valid])
    assert torch.equal(*found)


def test_y_is_the_first_half_of_a_position() -> None:
    level = torch.zeros(1, 8, 3, 5)
    position = tokenize([level], [(3, 5)], (3, 5)).position.unflatten(1, (3, 5))[0]
    assert torch.equal(position[:, :1, :4].expand(-1, 5, -1), position[..., :4])
    assert torch.equal(position[:1, :, 4:].expand(3, -1, -1), position[..., 4:])
    assert not torch.equal(position[0, 0], position[1, 0])
    assert not torch.equal(position[0, 0], position[0, 1])


def test_position_of_double_features_has_double_precision() -> None:
    channels, length = 12, 7
    level = torch.zeros(1, 2 * channels, length, 1, dtype=torch.float64)
    position = tokenize([level], [(length, 1)], (length, 1)).position[0, :, :channels]
    for k in range(length):
        for c in range(channels):
            angle = 2 * math.pi * (k + 1) / (length + 1e-6) / 10000 ** (c // 2 * 2 / channels)
            expected = math.cos(angle) if c % 2 else math.sin(angle)
            assert position[k, c].item() == pytest.approx(expected, abs=1e-14)


def test_position_of_half_precision_features_is_not_coarser() -> None:
    """Wide levels have more columns than bfloat16 can count."""
    level = torch.zeros(1, 16, 2, 336)
    expected = tokenize([level], [(8, 1344)], (8, 1344)).position
    for dtype in (torch.bfloat16, torch.float16):
        position = tokenize([level.to(dtype)], [(8, 1344)], (8, 1344)).position
        assert torch.equal(position.float(), expected.to(position.dtype).float())
        assert (position.float() - expected).abs().max() <= 2**-8
