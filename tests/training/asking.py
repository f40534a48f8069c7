"""A method that keeps the predictions that it asks for, and a pair of detectors that make them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from icd.methods.predictions import TowerPredictions
from icd.methods.tokens import Targets
from icd.training.distiller import Distiller
from tests.lab import DENSE_HEAD, NARROW, Lab, teacher_of

GFL = {
    "config": "gfl/gfl_r50_fpn_1x_coco.py",
    "model": {**NARROW, "bbox_head": {**DENSE_HEAD, "reg_max": 8}},
}
DETECTORS = ("retinanet", "fcos", "atss", "gfl")


class Asking(nn.Module):
    """Keeps what it is given; the student learns nothing from it."""

    heads = "towers"
    pyramids: tuple[Sequence[Tensor], Sequence[Tensor]]
    targets: Targets
    predictions: TowerPredictions

    def forward(
        self,
        teacher: Sequence[Tensor],
        student: Sequence[Tensor],
        targets: Targets,
        iteration: int,
        predictions: TowerPredictions,
    ) -> dict[str, Tensor]:
        self.pyramids, self.targets, self.predictions = (teacher, student), targets, predictions
        return {"loss_nothing": student[0].new_zeros(())}


class AskingForQueries(Asking):
    heads = "query"  # no such kind


def pair(lab: Lab, detector: str, kind: str = "Asking", **options: Any) -> Distiller:
    """Student and teacher with random weights and the method above.

    Args:
        lab: where.
        detector: of both.
        kind: class of the method.
        options: of the method.
    """
    methods = {"asking": {"class": f"tests.training.asking.{kind}", "options": options}}
    lab = lab.changed({"detectors": {"gfl": GFL}, "methods": methods})
    run = lab.run(method="asking", detector=detector)
    lab.place_untrained(teacher_of(run))
    torch.manual_seed(5)
    model = MODELS.build(lab.config(run).model)
    model.init_weights()
    return stirred(model)


def stirred(model: Any) -> Any:
    """The model, with heads whose scores and boxes differ from prior to prior."""
    generator = torch.Generator().manual_seed(1)
    for detector in (model.student, model.teacher.detector):
        for name, parameter in detector.bbox_head.named_parameters():
            if name.endswith("weight") and parameter.dim() == 4:
                scale = 2 / parameter[0].numel() ** 0.5
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.data.copy_(scale * noise)
    return model.train()
