"""Rows of several images, one after another or padded."""

from __future__ import annotations

import pytest
import torch

from icd.methods.icd.ragged import pad, unpad


@pytest.mark.parametrize("counts", [(2, 2, 2), (3, 1, 2), (0, 4), (0, 0), (5,)])
def test_rows_of_each_image_come_first_and_back(counts: tuple[int, ...]) -> None:
    rows = torch.arange(1, 2 * sum(counts) + 1).view(-1, 2)
    block = pad(rows, counts)
    assert block.shape == (len(counts), max(counts), 2)
    for own, given in zip(block, rows.split(list(counts)), strict=True):
        assert torch.equal(own[: len(given)], given)
        assert not own[len(given) :].any()
    assert torch.equal(unpad(block, counts), rows)


def test_what_lies_in_the_padding_is_left_out() -> None:
    block = torch.arange(6).view(2, 3, 1)
    assert unpad(block, (1, 2)).flatten().tolist() == [0, 3, 4]
    assert unpad(block, (2, 2)).flatten().tolist() == [0, 1, 3, 4]
