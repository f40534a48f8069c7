"""The inheriting strategy: a student starts with its teacher's neck and head."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from icd.errors import InputError
from icd.training.checkpoint import read_weights
from icd.training.distiller import bare_detector

OWN = "backbone."  # the only part a student never inherits
LEVEL = re.compile(r"(neck\.(?:lateral|fpn)_convs\.)(\d+)(\..+)")  # of an FPN of mmdet


def inherit(
    student: nn.Module, teacher: Mapping[str, Tensor], shift: int = 0
) -> tuple[list[str], list[str]]:
    """Copy into ``student`` what agrees in name and shape with ``teacher``'s neck and head.

    Args:
        student: the detector.
        teacher: weights of another.
        shift: by how many levels the student's pyramid starts later. What belongs to a level is
            taken over by the level of the same stride.

    Returns:
        The names taken over, and the names of the student's neck and head left as they were.
    """
    teacher = {_shifted(name, shift): value for name, value in teacher.items()}
    own = {name: value for name, value in student.state_dict().items() if not name.startswith(OWN)}
    taken = [name for name in own if name in teacher and teacher[name].shape == own[name].shape]
    with torch.no_grad():
        for name in taken:
            own[name].copy_(teacher[name])
    return taken, sorted(own.keys() - set(taken))


def _shifted(name: str, shift: int) -> str:
    """A name in the teacher's pyramid as the student's calls the level of the same stride."""
    found = LEVEL.fullmatch(name)
    return f"{found[1]}{int(found[2]) - shift}{found[3]}" if found else name


@HOOKS.register_module()
class InheritHook(Hook):
    """Lets the student inherit once, before its first iteration.

    Args:
        checkpoint: the teacher's weights.
        shift: see :func:`inherit`.
    """

    def __init__(self, checkpoint: str, shift: int = 0) -> None:
        self.checkpoint, self.shift = checkpoint, shift

    def before_train(self, runner: Runner) -> None:
        """Inherit unless training resumes; an inheritance of nothing is an error."""
        if runner.iter > 0:
            return
        weights = read_weights(Path(self.checkpoint))
        taken, left = inherit(bare_detector(runner.model), weights, self.shift)
        if not taken:
            raise InputError(
                self.checkpoint,
                "state_dict",
                "nothing in it fits the student's neck or head",
                "a teacher of the same detector and FPN width",
            )
        runner.logger.info(
            f"inherited {len(taken)} tensors from {self.checkpoint}; "
            f"{len(left)} of neck and head keep their own initialisation: {left}"
        )
