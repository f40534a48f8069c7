"""Which levels of two feature pyramids belong together: those of the same stride."""

from __future__ import annotations

from collections.abc import Mapping
from math import log2
from typing import Any

from torch import nn

from icd.errors import InputError

COARSEST = 32  # stride of the last stage of every backbone


def strides(neck: nn.Module) -> list[int] | None:
    """Pixels from cell to cell on each level of an FPN; None for a neck that does not say."""
    if not hasattr(neck, "start_level"):
        return None
    finest = finest_stride(len(neck.in_channels), neck.start_level)
    return [finest * 2**level for level in range(neck.num_outs)]


def finest_stride(stages: int, start_level: int) -> int:
    """Stride of the first level of an FPN on the last ``stages`` stages of a backbone."""
    return COARSEST // 2 ** (stages - 1 - start_level)


def level_shift(student: Mapping[str, Any], teacher: Mapping[str, Any]) -> int:
    """By how many levels the student's pyramid starts later, by the configs of two detectors."""
    necks = [model.get("neck") for model in (student, teacher)]
    if not all(isinstance(neck, Mapping) and "in_channels" in neck for neck in necks):
        return 0
    ours, theirs = (
        finest_stride(len(neck["in_channels"]), neck.get("start_level", 0)) for neck in necks
    )
    return int(log2(ours / theirs))


def common_levels(student: nn.Module, teacher: nn.Module) -> tuple[slice, slice]:
    """The levels of the same strides in the outputs of two necks.

    Raises:
        InputError: they have none in common, or do not say what they have.
    """
    ours, theirs = strides(student), strides(teacher)
    if ours is None or theirs is None:
        if student.num_outs != teacher.num_outs:
            problem = "has not as many levels as the teacher's, and strides are unknown"
            raise InputError("model", "neck", problem, "two FPNs, or as many levels in both")
        return slice(None), slice(None)
    common = [stride for stride in ours if stride in theirs]
    if not common:
        problem = f"has strides {ours}, the teacher's {theirs}: none in common"
        raise InputError("model", "neck", problem, "pyramids that overlap")
    return tuple(
        slice(levels.index(common[0]), levels.index(common[-1]) + 1) for levels in (ours, theirs)
    )
