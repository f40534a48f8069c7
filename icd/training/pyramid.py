"""Matching levels of two feature pyramids: those with the same stride."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from icd.errors import InputError
from icd.experiments.options import Levels

COARSEST = 32  # stride of the last stage of every backbone
MEASURED = 256  # side in pixels of the image that reveals the strides of an unknown neck


@runtime_checkable
class FPN(Protocol):
    """A neck that states the stages of the backbone that it uses, as mmdet's FPN does."""

    in_channels: Sequence[int]
    start_level: int
    num_outs: int


@dataclass(frozen=True)
class CommonLevels:
    """The levels that a method distils, which are in both pyramids.

    strides: pixels from cell to cell, level by level.
    student, teacher: where these levels are in the outputs of the two necks.
    """

    strides: list[int]
    student: list[int]
    teacher: list[int]

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
    common = [stride for stride in student if stride in teacher]
    if not common:
        problem = f"has strides {[*student]}, the teacher's {[*teacher]}: none in common"
        raise InputError("model", "neck", problem, "pyramids that overlap")
    chosen = set(levels if isinstance(levels, list) else common)
    if levels == "all_but_coarsest":
        chosen -= {max(common)}
    if not chosen or not chosen <= set(common):
        problem = f"is {levels}, but the strides in both pyramids are {common}"
        raise InputError("methods", "options.levels", problem, "one or more of these, or all")
    own, other = (
        [place for place, stride in enumerate(pyramid) if stride in chosen]
        for pyramid in (student, teacher)
    )
    return CommonLevels([student[place] for place in own], own, other)


def strides(detector: Any) -> list[int]:
    """Stride in pixels of each level of a detector's pyramid: as its FPN states, or measured."""
    if not isinstance(detector.neck, FPN):
        return measured_strides(detector)
    finest = finest_stride(len(detector.neck.in_channels), detector.neck.start_level)
    return [finest * 2**level for level in range(detector.neck.num_outs)]


@torch.no_grad()
def measured_strides(detector: Any) -> list[int]:
    """Stride of each level, from the sizes of the levels of a blank image."""
    was_training = detector.training
    levels = detector.eval().extract_feat(torch.zeros(1, 3, MEASURED, MEASURED))
    detector.train(was_training)
    return [MEASURED // level.shape[-1] for level in levels]


def finest_stride(stages: int, start_level: int) -> int:
    """Stride of the first level of an FPN on the last ``stages`` stages of a backbone."""
    return COARSEST // 2 ** (stages - 1 - start_level)


def level_shift(student: Mapping[str, Any], teacher: Mapping[str, Any]) -> int:
    """By how many levels the student's pyramid starts later, from the configs of two detectors."""
    own, other = (_configured_stride(model.get("neck")) for model in (student, teacher))
    return int(log2(own / other)) if own and other else 0


def _configured_stride(neck: Any) -> int | None:
    """Stride of the first level, from the config of a neck; None if the config lacks it."""
    if not (isinstance(neck, Mapping) and "in_channels" in neck):
        return None
    return finest_stride(len(neck["in_channels"]), neck.get("start_level", 0))
