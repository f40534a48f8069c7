"""Feature pyramids: their levels, and those that two of them have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import log2
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from icd.errors import InputError
from icd.experiments.options import Levels
from icd.methods.adapter import with_channels

COARSEST = 32  # stride of the last stage of every backbone
# Sides in pixels of the images that reveal a pyramid. Some need more than the first: the
# last levels of an SSD come from convolutions without padding.
SIDES = (256, 512)
EXPECTED = "levels, a sequence of tensors [N, C, h, w]"


@runtime_checkable
class FPN(Protocol):
    """A neck on stages of the backbone, as mmdet's FPN."""

    in_channels: Sequence[int]
    out_channels: int
    start_level: int
    num_outs: int


@dataclass(frozen=True)
class Pyramid:
    """The levels of a detector's features.

    strides: pixels from cell to cell, level by level.
    widths: channels of each level.
    channels: of the widest level. A method sees all levels in this width.
    """

    strides: list[int]
    widths: list[int]
    channels: int

    @classmethod
    def of(cls, strides: list[int], widths: list[int]) -> Pyramid:
        """A pyramid with these levels."""
        return cls(strides, widths, max(widths))

    def only(self, strides: Sequence[int]) -> Pyramid:
        """The pyramid of those levels that have these strides, in the order of the strides."""
        return self.of([*strides], [self.widths[self.strides.index(stride)] for stride in strides])

    def part(self, strides: Sequence[int]) -> Pyramid:
        """Those levels as one of several methods sees them: filled to the width of all."""
        return replace(self.only(strides), channels=self.channels)

    def filled(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Levels [N, C, h, w] with the channels that they lack, of zeros; as they are if none."""
        return [with_channels(level, self.channels) for level in levels]


@dataclass(frozen=True)
class CommonLevels:
    """The levels that a method distils, which are in both pyramids, from fine to coarse.

    strides: pixels from cell to cell, level by level.
    student, teacher: where these levels are in the outputs of the two necks.
    """

    strides: list[int]
    student: list[int]
    teacher: list[int]

    def only(self, strides: Sequence[int]) -> CommonLevels:
        """Those of these levels that have these strides."""
        rows = zip(self.strides, self.student, self.teacher, strict=True)
        chosen = [row for row in rows if row[0] in strides]
        return CommonLevels(*(list(column) for column in zip(*chosen, strict=True)))

    def of_student(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """These levels of the student's pyramid."""
        return [pyramid[place] for place in self.student]

    def of_teacher(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """These levels of the teacher's pyramid."""
        return [pyramid[place] for place in self.teacher]


def common_levels(student: Sequence[int], teacher: Sequence[int], levels: Levels) -> CommonLevels:
    """The levels with equal strides in two pyramids, or some of them.

    Args:
        student, teacher: strides of the pyramids, level by level.
        levels: which of them.

    Raises:
        InputError: no stride is in both, or they lack a stride that ``levels`` names.
    """
    common = sorted({*student} & {*teacher})
    if not common:
        problem = f"has strides {[*student]}, the teacher's {[*teacher]}: none in common"
        raise InputError("model", "neck", problem, "pyramids that overlap")
    chosen = set(levels if isinstance(levels, list) else common)
    if levels == "all_but_coarsest":
        chosen -= {max(common)}
    if not chosen or not chosen <= set(common):
        problem = f"is {levels}, but the strides in both pyramids are {common}"
        raise InputError("methods", "options.levels", problem, "one or more of these, or all")
    strides = sorted(chosen)
    own, other = ([pyramid.index(stride) for stride in strides] for pyramid in (student, teacher))
    return CommonLevels(strides, own, other)


def pyramid_network(detector: Any) -> nn.Module:
    """The network whose outputs are the pyramid: the neck, or the backbone if there is none."""
    neck: nn.Module | None = getattr(detector, "neck", None)
    return detector.backbone if neck is None else neck


@torch.no_grad()
def pyramid_of(detector: Any) -> Pyramid:
    """The pyramid of a detector, from the levels of a blank image.

    No config says it: the strides of an FPN are those of the backbone below.

    Raises:
        InputError: the detector fails on such images, or its features are not levels.
    """
    *smaller, largest = SIDES
    for side in smaller:
        try:
            return _measured_with(detector, side)
        except Exception:  # a detector may fail in any way
            continue
    try:
        return _measured_with(detector, largest)
    except InputError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        problem = f"fails on a blank image of {largest} x {largest} pixels ({reason})"
        raise InputError("model", "neck", problem, EXPECTED) from error


def _measured_with(detector: Any, side: int) -> Pyramid:
    """The pyramid of a detector, from the levels of a blank image of this side."""
    levels = _levels_of_blank(detector, side)
    if not _are_levels(levels):
        problem = f"makes features of type {type(levels).__name__}"
        raise InputError("model", "neck", problem, EXPECTED)
    widths = [level.shape[1] for level in levels]
    return Pyramid.of([side // level.shape[-1] for level in levels], widths)


def _levels_of_blank(detector: Any, side: int) -> Any:
    """The features of a blank image of this side, without a trace in the detector."""
    device = next(detector.parameters()).device
    with torch.random.fork_rng(devices=[]), _evaluating(detector):
        return detector.extract_feat(torch.zeros(1, 3, side, side, device=device))


def require_head_on_pyramid(detector: Any) -> None:
    """Raise InputError if the anchors or points of a head lie on other cells than its levels have.

    Nothing else would say so: as many levels are trained, with boxes at the wrong places.
    """
    head = getattr(detector, "bbox_head", None) or getattr(detector, "rpn_head", None)
    generator = getattr(head, "prior_generator", None)
    if generator is None or not isinstance(getattr(detector, "neck", None), FPN):
        return
    stated, found = [max(stride) for stride in generator.strides], pyramid_of(detector).strides
    if stated != found:
        problem = f"has the strides {stated}, but the levels of the pyramid have {found}"
        expected = "the same, or a backbone with these strides"
        raise InputError("model", "bbox_head", problem, expected)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode within the block. Not by ``eval()``: mmdet's freezes weights in it."""
    trained = [module for module in model.modules() if module.training]
    for module in trained:
        module.training = False
    try:
        yield
    finally:
        for module in trained:
            module.training = True


def _are_levels(levels: Any) -> bool:
    return (
        isinstance(levels, tuple | list)
        and len(levels) > 0
        and all(isinstance(level, Tensor) and level.dim() == 4 for level in levels)
    )


def finest_stride(stages: int, start_level: int) -> int:
    """Stride of the first level of an FPN on the last ``stages`` stages of a backbone."""
    return COARSEST // 2 ** (stages - 1 - start_level)


def level_shift(student: Mapping[str, Any], teacher: Mapping[str, Any]) -> int:
    """By how many levels the student's pyramid starts later, from the configs of two detectors."""
    own, other = (_configured_stride(model.get("neck")) for model in (student, teacher))
    return int(log2(own / other)) if own and other else 0


def _configured_stride(neck: Any) -> int | None:
    """Stride of the first level, from the config of a neck; None if the config lacks it."""
    if not (isinstance(neck, Mapping) and isinstance(neck.get("in_channels"), Sequence)):
        return None
    return finest_stride(len(neck["in_channels"]), neck.get("start_level", 0))
