"""A training loads all weights of its pre-training, exactly once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from mmdet.registry import MODELS
from torch import nn

from icd.errors import InputError
from icd.experiments.run import TrainedRun
from icd.training.distiller import bare_detector
from icd.training.hooks.pretrained import PretrainedHook
from tests.lab import Lab, differing, snapshot, weights


def start_from(lab: Lab, run: TrainedRun, model: nn.Module, iteration: int = 0) -> None:
    """What the hook does with a model before a training that starts or, later, resumes."""
    hook = PretrainedHook(str(lab.folder(run) / "model.pth"))
    hook.before_train(SimpleNamespace(model=model, iter=iteration))


@pytest.mark.parametrize("distilled", [False, True])
def test_a_student_starts_from_its_pretraining(lab: Lab, distilled: bool) -> None:
    start = lab.run(seed=9)
    lab.place_untrained(start)
    model = MODELS.build(lab.config(lab.run(method="icd" if distilled else "none")).model)
    before = snapshot(model)
    start_from(lab, start, model, iteration=3)
    assert not differing(before, snapshot(model)), "what resumes has its own weights"
    start_from(lab, start, model)
    assert not differing(snapshot(bare_detector(model)), weights(lab.folder(start)))


def test_a_pretraining_of_another_detector_is_refused(lab: Lab, teacher: TrainedRun) -> None:
    model = MODELS.build(lab.config(lab.run()).model)
    with pytest.raises(InputError, match="has shape"):
        start_from(lab, teacher, model)
