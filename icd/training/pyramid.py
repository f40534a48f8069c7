"""Matching levels of two feature pyramids: those with the same stride."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log2
from typing import Any, Protocol, runtime_checkable

from icd.errors import InputError

COARSEST = 32  # stride of the last stage of every backbone


class Neck(Protocol):
    """A module that returns ``num_outs`` feature levels."""

    num_outs: int


@runtime_checkable
class FPN(Neck, Protocol):
    """A neck that states the stages of the backbone that it uses, as mmdet's FPN does."""

    in_channels: Sequence[int]
    start_level: int


def strides(neck: Neck) -> list[int] | None:
    """Stride in pixels of each level of an FPN; None for a neck that does not state it."""
    if not isinstance(neck, FPN):
        return None
    finest = finest_stride(len(neck.in_channels), neck.start_level)
    return [finest * 2**level for level in range(neck.num_outs)]


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


def common_levels(student: Neck, teacher: Neck) -> tuple[slice, slice]:
    """The levels with equal strides in the outputs of two necks.

    Raises:
        InputError: no stride is in both, or strides are unknown and the numbers of levels differ.
    """
    own, other = strides(student), strides(teacher)
    if own is None or other is None:
        if student.num_outs != teacher.num_outs:
            problem = (
                f"has {student.num_outs} levels, the teacher's {teacher.num_outs},"
                " and strides are unknown"
            )
            raise InputError("model", "neck", problem, "two FPNs, or as many levels in both")
        return slice(None), slice(None)
    common = [stride for stride in own if stride in other]
    if not common:
        problem = f"has strides {own}, the teacher's {other}: none in common"
        raise InputError("model", "neck", problem, "pyramids that overlap")
    return _span(own, common), _span(other, common)


def _span(levels: list[int], common: list[int]) -> slice:
    """The slice of ``levels`` from the first to the last of the common ones."""
    return slice(levels.index(common[0]), levels.index(common[-1]) + 1)
