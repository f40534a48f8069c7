"""Matching pyramid levels, compared with the outputs of all detectors."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from icd.errors import InputError
from icd.experiments.options import Levels
from icd.experiments.track import load_track
from icd.training.config import plain_config
from icd.training.pyramid import common_levels, level_shift, measured_strides, strides
from tests.lab import Lab

P3_P7, P2_P6 = [8, 16, 32, 64, 128], [4, 8, 16, 32, 64]
P3_P5 = [8, 16, 32]


@pytest.mark.parametrize("name", load_track("mini").content.detectors)
def test_strides_are_those_of_the_levels(mini: Lab, name: str) -> None:
    with torch.device("meta"):
        model = MODELS.build(plain_config(mini.run(detector=name), mini.inputs).model)
    levels = model.to("meta").extract_feat(torch.zeros(1, 3, 256, 256, device="meta"))
    assert strides(model) == [256 // level.shape[-1] for level in levels]


class Wrapped(nn.Module):
    """A neck of which nothing is known."""

    def __init__(self, neck: nn.Module) -> None:
        super().__init__()
        self.wrapped = neck

    def forward(self, levels: Sequence[Tensor]) -> Sequence[Tensor]:
        return self.wrapped(levels)


@pytest.mark.parametrize(("detector", "expected"), [("retinanet", P3_P7), ("faster-rcnn", P2_P6)])
def test_strides_of_a_neck_that_does_not_say_are_measured(
    lab: Lab, detector: str, expected: list[int]
) -> None:
    model = MODELS.build(plain_config(lab.run(detector=detector), lab.inputs).model)
    before = [value.clone() for value in model.state_dict().values()]
    assert measured_strides(model.train()) == expected == strides(model)
    model.neck = Wrapped(model.neck)  # no FPN to the eye, though it computes the same
    assert strides(model) == expected
    assert model.training
    after = model.state_dict().values()  # batch norm has counted nothing
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("student", "teacher", "levels", "expected"),
    [
        (P3_P7, P3_P7, "all", (P3_P7, [0, 1, 2, 3, 4], [0, 1, 2, 3, 4])),
        (P3_P7, P2_P6, "all", ([8, 16, 32, 64], [0, 1, 2, 3], [1, 2, 3, 4])),
        (P2_P6, P3_P7, "all", ([8, 16, 32, 64], [1, 2, 3, 4], [0, 1, 2, 3])),
        (P3_P5, P2_P6, "all", (P3_P5, [0, 1, 2], [1, 2, 3])),
        (P3_P7, P3_P7, "all_but_coarsest", ([8, 16, 32, 64], [0, 1, 2, 3], [0, 1, 2, 3])),
        (P2_P6, P2_P6, "all_but_coarsest", ([4, 8, 16, 32], [0, 1, 2, 3], [0, 1, 2, 3])),
        (P3_P7, P2_P6, "all_but_coarsest", (P3_P5, [0, 1, 2], [1, 2, 3])),
        (P3_P7, P2_P6, [64, 16], ([16, 64], [1, 3], [2, 4])),
    ],
)
def test_common_levels_have_the_same_strides(
    student: list[int], teacher: list[int], levels: Levels, expected: tuple[list[int], ...]
) -> None:
    found = common_levels(student, teacher, levels)
    assert (found.strides, found.student, found.teacher) == expected
    assert [student[i] for i in found.student] == [teacher[i] for i in found.teacher]


def test_levels_are_taken_from_each_pyramid() -> None:
    found = common_levels(P3_P7, P2_P6, [8, 32])
    ours, theirs = ([torch.full((1,), stride) for stride in own] for own in (P3_P7, P2_P6))
    assert found.of_student(ours) == found.of_teacher(theirs) == [8, 32]


def test_pyramids_without_a_common_level_are_refused() -> None:
    message = r"neck: has strides \[4\], the teacher's \[8, .*none in common; expected pyramids"
    with pytest.raises(InputError, match=message):
        common_levels([4], P3_P7, "all")


@pytest.mark.parametrize(
    ("student", "levels"), [(P3_P7, [4, 8]), (P3_P5, [64]), ([32], "all_but_coarsest")]
)
def test_levels_that_a_pyramid_lacks_are_refused(student: list[int], levels: Levels) -> None:
    message = r"methods: options\.levels: is .*, but the strides in both pyramids are \["
    with pytest.raises(InputError, match=message):
        common_levels(student, P3_P7, levels)


def test_the_shift_is_that_of_the_first_level() -> None:
    high, low = ({"neck": {"in_channels": [1] * 4, "start_level": start}} for start in (1, 0))
    assert (level_shift(high, low), level_shift(low, high), level_shift(low, low)) == (1, -1, 0)
    assert level_shift({"neck": [{"type": "FPN"}, {"type": "DyHead"}]}, high) == 0
