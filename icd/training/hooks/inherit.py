"""The inheriting strategy: a student starts with the weights of its teacher's neck and head."""

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

OWN = "backbone."  # prefix of the only part that a student never inherits
LEVEL = re.compile(r"(neck\.(?:lateral|fpn)_convs\.)(\d+)(\..+)")  # weights of one FPN level


def inherit(
    student: nn.Module, teacher: Mapping[str, Tensor], shift: int = 0
) -> tuple[list[str], list[str]]:
    """Copy the teacher's neck and head into ``student`` where name and shape agree.

    Args:
        student: the detector.
        teacher: weights of the teacher by name.
        shift: by how many levels the student's pyramid starts later. The weights of a level are
            copied to the level of the same stride.

    Returns:
        The names of the copied weights, and those of the neck and head that were not copied.
    """
    teacher = {_shifted(name, shift): value for name, value in teacher.items()}
    own = {name: value for name, value in student.state_dict().items() if not name.startswith(OWN)}
    taken = [name for name in own if name in teacher and teacher[name].shape == own[name].shape]
    with torch.no_grad():
        for name in taken:
            own[name].copy_(teacher[name])
    return taken, sorted(own.keys() - set(taken))


def _shifted(name: str, shift: int) -> str:
    """The student's name for the teacher's weight ``name``, on the level of the same stride."""
    match = LEVEL.fullmatch(name)
    return f"{match[1]}{int(match[2]) - shift}{match[3]}" if match else name


@HOOKS.register_module()
class InheritHook(Hook):
    """Copies the teacher's neck and head into the student before the first iteration.

    Args:
        checkpoint: path of the teacher's weights.
        shift: see :func:`inherit`.
    """

    def __init__(self, checkpoint: str, shift: int = 0) -> None:
        self.checkpoint, self.shift = checkpoint, shift

    def before_train(self, runner: Runner) -> None:
        """Inherit, unless the training resumes.

        Raises:
            InputError: none of the weights fits.
        """
        if runner.iter > 0:
            return
        weights = read_weights(Path(self.checkpoint))
        taken, left = inherit(bare_detector(runner.model), weights, self.shift)
        if not taken:
            raise InputError(
                self.checkpoint,
                "state_dict",
                "no tensor fits the student's neck or head",
                "a teacher of the same detector and FPN width",
            )
        runner.logger.info(
            f"inherited {len(taken)} tensors from {self.checkpoint}; "
            f"{len(left)} tensors of neck and head keep their own initialisation: {left}"
        )
