"""Matching pyramid levels, compared with the outputs of all detectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from icd.errors import InputError
from icd.experiments.options import Levels
from icd.training.config import plain_config
from icd.training.pyramid import (
    Pyramid,
    common_levels,
    level_shift,
    pyramid_network,
    pyramid_of,
    require_head_on_pyramid,
)
from tests.lab import DETECTORS, Lab

P3_P7, P2_P6 = [8, 16, 32, 64, 128], [4, 8, 16, 32, 64]
P3_P5 = [8, 16, 32]


@pytest.mark.parametrize("name", DETECTORS)
def test_a_pyramid_is_that_of_the_levels(mini: Lab, name: str) -> None:
    with torch.device("meta"):
        model = MODELS.build(plain_config(mini.run(detector=name), mini.inputs).model)
    levels = model.to("meta").extract_feat(torch.zeros(1, 3, 256, 256, device="meta"))
    found = pyramid_of(model)
    assert found.strides == [256 // level.shape[-1] for level in levels]
    assert found.widths == [level.shape[1] for level in levels] == [32] * 5
    assert found.channels == 32


def test_strides_are_those_of_the_backbone(mini: Lab) -> None:
    config = plain_config(mini.run(detector="retinanet"), mini.inputs).model
    config.backbone.strides = (1, 1, 2, 2)  # its last stage has half the usual stride
    with torch.device("meta"):
        model = MODELS.build(config)
    assert pyramid_of(model.to("meta")).strides == P2_P6


@pytest.mark.parametrize("name", DETECTORS)
def test_a_head_with_the_strides_of_another_backbone_is_refused(mini: Lab, name: str) -> None:
    config = plain_config(mini.run(detector=name), mini.inputs).model
    with torch.device("meta"):
        fitting = MODELS.build(config)
        config.backbone.strides = (1, 1, 2, 2)
        other = MODELS.build(config)
    require_head_on_pyramid(fitting.to("meta"))
    if name == "solov2":  # it has no anchors
        return
    with pytest.raises(InputError, match=r"strides \[.*but the levels of the pyramid have"):
        require_head_on_pyramid(other.to("meta"))


class Wrapped(nn.Module):
    """A neck of which nothing is known."""

    def __init__(self, neck: nn.Module) -> None:
        super().__init__()
        self.wrapped = neck

    def forward(self, levels: Sequence[Tensor]) -> Sequence[Tensor]:
        return self.wrapped(levels)


@pytest.mark.parametrize(("detector", "expected"), [("retinanet", P3_P7), ("faster-rcnn", P2_P6)])
def test_measuring_leaves_no_trace(lab: Lab, detector: str, expected: list[int]) -> None:
    model = MODELS.build(plain_config(lab.run(detector=detector), lab.inputs).model)
    model.train().backbone.bn1.eval()
    before = [value.clone() for value in model.state_dict().values()]
    modes = [module.training for module in model.modules()]
    drawn = torch.get_rng_state()
    assert pyramid_of(model) == Pyramid(expected, [16] * 5, 16)
    assert modes == [module.training for module in model.modules()]
    assert torch.equal(torch.get_rng_state(), drawn)
    after = model.state_dict().values()  # batch norm has counted nothing
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
    model.neck = Wrapped(model.neck)  # no FPN to the eye, though it computes the same
    assert pyramid_of(model).strides == expected


class Features(nn.Module):
    """A detector of whose features only the outcome counts, as a function of the images."""

    def __init__(self, features: Callable[[Tensor], Any], neck: bool = True) -> None:
        super().__init__()
        self.backbone, self.features = nn.Conv2d(3, 1, 1), features
        if neck:
            self.neck = nn.Identity()

    def extract_feat(self, images: Tensor) -> Any:
        return self.features(images)


def pooled(*levels: tuple[int, int]) -> Callable[[Tensor], list[Tensor]]:
    """Levels of these strides and widths."""
    return lambda images: [
        torch.zeros(1, width, images.shape[2] // stride, images.shape[3] // stride)
        for stride, width in levels
    ]


def test_levels_may_differ_in_width_and_come_in_any_order() -> None:
    found = pyramid_of(Features(pooled((32, 5), (16, 7), (8, 3))))
    assert found == Pyramid([32, 16, 8], [5, 7, 3], 7)
    assert found.only([8, 32]) == Pyramid([8, 32], [3, 5], 5)
    levels = common_levels(found.strides, [4, 8, 16, 32], "all")
    assert (levels.strides, levels.student, levels.teacher) == ([8, 16, 32], [2, 1, 0], [1, 2, 3])


def test_narrow_levels_are_filled_with_zeros() -> None:
    pyramid = Pyramid.of([8, 16], [3, 5])
    levels = [torch.randn(2, width, 4, 6) for width in pyramid.widths]
    narrow, wide = pyramid.filled(levels)
    assert wide is levels[1]
    assert torch.equal(narrow[:, :3], levels[0])
    assert narrow.shape == (2, 5, 4, 6)
    assert not narrow[:, 3:].any()


def test_a_detector_may_need_larger_images() -> None:
    def features(images: Tensor) -> list[Tensor]:
        if images.shape[-1] < 300:
            raise RuntimeError("kernel size can't be greater than input size")
        return pooled((8, 4), (128, 4))(images)

    assert pyramid_of(Features(features)) == Pyramid([8, 128], [4, 4], 4)


def test_without_a_neck_the_pyramid_is_the_backbones() -> None:
    detector = Features(pooled((4, 2)), neck=False)
    assert pyramid_network(detector) is detector.backbone
    with_neck = Features(pooled((4, 2)))
    assert pyramid_network(with_neck) is with_neck.neck


def test_features_that_are_no_levels_are_refused() -> None:
    for features in (lambda x: x, lambda x: [], lambda x: [x.flatten(1)]):
        with pytest.raises(InputError, match=r"neck: makes features of type .*; expected levels"):
            pyramid_of(Features(features))

    def failing(images: Tensor) -> list[Tensor]:
        raise ValueError("two\nlines")

    message = r"fails on a blank image of 512 x 512 pixels \(ValueError: two lines\)"
    with pytest.raises(InputError, match=message):
        pyramid_of(Features(failing))


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
        ([32, 16, 8], P3_P7, "all", (P3_P5, [2, 1, 0], [0, 1, 2])),
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
    assert level_shift({"neck": {"type": "CTResNetNeck", "in_channels": 512}}, high) == 0
