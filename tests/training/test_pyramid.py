"""Matching pyramid levels, compared with the outputs of all detectors."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from mmdet.registry import MODELS

from icd.errors import InputError
from icd.experiments.track import load_track
from icd.training.config import plain_config
from icd.training.pyramid import common_levels, level_shift, strides
from tests.lab import Lab


@dataclass
class Levels:
    """A neck of which only the number of levels is known."""

    num_outs: int


@dataclass
class Pyramid(Levels):
    """A neck that states where it starts."""

    in_channels: list[int]
    start_level: int


HIGH = Pyramid(in_channels=[1] * 4, start_level=1, num_outs=5)  # P3-P7
LOW = Pyramid(in_channels=[1] * 4, start_level=0, num_outs=5)  # P2-P6
SHORT = Pyramid(in_channels=[1] * 3, start_level=0, num_outs=3)  # P3-P5 of C3-C5


@pytest.mark.parametrize("name", load_track("mini").content.detectors)
def test_strides_are_those_of_the_levels(mini: Lab, name: str) -> None:
    with torch.device("meta"):
        model = MODELS.build(plain_config(mini.run(detector=name), mini.inputs).model)
    levels = model.to("meta").extract_feat(torch.zeros(1, 3, 256, 256, device="meta"))
    assert strides(model.neck) == [256 // level.shape[-1] for level in levels]


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        (HIGH, HIGH, (slice(0, 5), slice(0, 5))),
        (HIGH, LOW, (slice(0, 4), slice(1, 5))),
        (LOW, HIGH, (slice(1, 5), slice(0, 4))),
        (SHORT, LOW, (slice(0, 3), slice(1, 4))),
    ],
)
def test_common_levels_have_the_same_strides(
    student: Pyramid, teacher: Pyramid, expected: tuple[slice, slice]
) -> None:
    found = common_levels(student, teacher)
    assert found == expected
    ours, theirs = strides(student), strides(teacher)
    assert ours is not None
    assert theirs is not None
    assert ours[found[0]] == theirs[found[1]]


def test_pyramids_without_a_common_level_are_refused() -> None:
    fine = Pyramid(in_channels=[1] * 4, start_level=0, num_outs=1)
    message = r"neck: has strides \[4\], the teacher's \[8, .*none in common; expected pyramids"
    with pytest.raises(InputError, match=message):
        common_levels(fine, HIGH)


def test_necks_that_do_not_say_must_be_alike() -> None:
    other = Levels(num_outs=5)
    assert common_levels(other, HIGH) == (slice(None), slice(None))
    with pytest.raises(InputError, match="strides are unknown"):
        common_levels(Levels(num_outs=4), HIGH)


def test_the_shift_is_that_of_the_first_level() -> None:
    high, low = ({"neck": vars(neck)} for neck in (HIGH, LOW))
    assert (level_shift(high, low), level_shift(low, high), level_shift(low, low)) == (1, -1, 0)
    assert level_shift({"neck": [{"type": "FPN"}, {"type": "DyHead"}]}, high) == 0
