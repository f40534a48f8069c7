"""Trains the decoder of a method on a teacher's features, before any student learns with it."""

from __future__ import annotations

from typing import Any

from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from torch import Tensor

from icd.experiments.options import Levels
from icd.training.distiller import Taught, build_method, targets_of
from icd.training.pyramid import common_levels, pyramid_of


@MODELS.register_module()
class DecoderAlone(Taught):
    """The auxiliary task of a method without a student.

    Args:
        teacher: ``config`` of a detector and ``checkpoint``, its weights.
        method: config of the method, whose ``forward`` and ``decoder_parts`` are like those of
            :class:`icd.methods.icd.method.ICD`.
        levels: which of the teacher's levels the decoder sees.
    """

    def __init__(
        self, teacher: dict[str, Any], method: dict[str, Any], levels: Levels = "all"
    ) -> None:
        detector = MODELS.build(teacher["config"])
        super().__init__(data_preprocessor=detector.data_preprocessor)
        known = pyramid_of(detector)
        self.levels = common_levels(known.strides, known.strides, levels)
        self.teacher_pyramid = known.only(self.levels.strides)
        built: Any = build_method(method, self.teacher_pyramid, self.teacher_pyramid)
        self.method = built
        trained = {*built.decoder_parts().parameters()}
        for parameter in {*built.parameters()} - trained:  # a student's projections
            parameter.requires_grad_(False)
        self.hide_teacher(detector, teacher["checkpoint"])

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[DetDataSample],
        mode: str = "loss",
    ) -> dict[str, Any]:
        """The auxiliary losses."""
        features = self.teacher_levels(self.teacher.features(inputs))
        targets = targets_of(inputs, data_samples, self.levels.strides)
        return self.method(features, None, targets, self.iteration)
