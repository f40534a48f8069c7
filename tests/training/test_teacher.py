"""The teacher stays frozen and hidden from training, and gets the right images."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from mmdet.models import DetDataPreprocessor
from mmdet.registry import MODELS
from mmengine.optim import build_optim_wrapper

from icd.experiments.run import TrainedRun
from icd.training.distiller import Distiller
from icd.training.teacher import Renormalise
from tests.lab import Lab, batch, differing, snapshot, weights

IMAGENET = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
CAFFE = {"mean": [103.53, 116.28, 123.675], "std": [1.0, 1.0, 1.0]}
RGB, BGR = {"bgr_to_rgb": True}, {"bgr_to_rgb": False}


def test_is_no_part_of_the_model(distiller: Distiller, lab: Lab) -> None:
    hidden = {id(p) for p in distiller.teacher.detector.parameters()}
    hidden |= {id(m) for m in distiller.teacher.detector.modules()}
    seen = [*distiller.parameters(), *distiller.buffers(), *distiller.modules()]
    assert not hidden & {id(thing) for thing in seen}
    assert {name.split(".")[0] for name in distiller.state_dict()} == {"student", "method"}


def test_is_not_in_the_optimiser(distiller: Distiller, lab: Lab) -> None:
    wrapper = build_optim_wrapper(distiller, lab.config(lab.run(method="icd")).optim_wrapper)
    groups = [group for part in wrapper.param_groups.values() for group in part]
    trained = {id(p) for group in groups for p in group["params"]}
    assert trained == {id(p) for p in distiller.parameters()}
    assert not trained & {id(p) for p in distiller.teacher.detector.parameters()}


def test_keeps_its_weights_when_the_model_is_initialised(
    distiller: Distiller, lab: Lab, teacher: TrainedRun
) -> None:
    before = snapshot(distiller.student)
    distiller.init_weights()
    assert differing(before, snapshot(distiller.student))  # something was initialised
    stored = weights(lab.folder(teacher))
    assert not differing(stored, snapshot(distiller.teacher.detector))


def test_is_untouched_by_training(distiller: Distiller, lab: Lab, teacher: TrainedRun) -> None:
    wrapper = build_optim_wrapper(distiller, lab.config(lab.run(method="icd")).optim_wrapper)
    distiller.iteration = 1000  # past the warm-up
    student = snapshot(distiller.student)
    for _ in range(2):
        distiller.train()
        distiller.train_step(batch([2, 1]), wrapper)
    detector = distiller.teacher.detector
    assert not any(module.training for module in detector.modules())
    assert not any(p.requires_grad or p.grad is not None for p in detector.parameters())
    assert not differing(weights(lab.folder(teacher)), snapshot(detector))
    # The student's batch norm did count the same images.
    assert "backbone.bn1.running_mean" in differing(student, snapshot(distiller.student))


def test_gives_the_features_of_the_plain_detector(
    distiller: Distiller, lab: Lab, teacher: TrainedRun
) -> None:
    plain = MODELS.build(distiller_config(lab)["teacher"]["config"])
    plain.load_state_dict(weights(lab.folder(teacher)))
    images = torch.randn(2, 3, 64, 64, requires_grad=True)
    levels = distiller.teacher.features(images)
    assert not any(level.requires_grad for level in levels)
    for level, expected in zip(levels, plain.eval().extract_feat(images), strict=True):
        assert torch.equal(level, expected)


@pytest.mark.parametrize("move", [lambda m: m.to(torch.float64), lambda m: m.double()])
def test_moves_with_the_model(distiller: Distiller, move: Callable[[Distiller], Distiller]) -> None:
    assert move(distiller) is distiller
    tensors = [*distiller.teacher.detector.parameters(), *distiller.teacher.detector.buffers()]
    assert {t.dtype for t in tensors if t.is_floating_point()} == {torch.float64}
    levels = distiller.teacher.features(torch.randn(1, 3, 64, 64, dtype=torch.float64))
    assert levels[0].dtype == torch.float64


def test_copies_of_the_model_share_it(distiller: Distiller) -> None:
    twin = copy.deepcopy(distiller)
    assert twin.teacher is distiller.teacher
    assert twin.student is not distiller.student
    assert not differing(snapshot(twin), snapshot(distiller))


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        (IMAGENET | RGB, CAFFE | BGR),
        (CAFFE | BGR, IMAGENET | RGB),
        (IMAGENET | RGB, CAFFE | RGB),
        (IMAGENET | RGB, IMAGENET | BGR),  # the same numbers, other channels
        (IMAGENET | RGB, {key: x[::-1] for key, x in IMAGENET.items()} | BGR),  # and the reverse
        (IMAGENET | RGB, RGB),  # a teacher of raw pixels
        (BGR, IMAGENET | RGB),
        ({"mean": [127], "std": [64]} | BGR, IMAGENET | RGB),  # one value for all channels
    ],
)
def test_images_are_those_of_the_teachers_own_preprocessor(student: dict, teacher: dict) -> None:
    data = batch([1, 1, 1], [(40, 64), (50, 33), (64, 20)])
    ours = DetDataPreprocessor(**student, pad_size_divisor=32)
    theirs = DetDataPreprocessor(**teacher, pad_size_divisor=32)
    images = ours(copy.deepcopy(data))["inputs"]
    expected = theirs(copy.deepcopy(data))["inputs"]
    before = images.clone()
    found = Renormalise(ours, theirs)(images, [(40, 64), (50, 33), (64, 20)])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    assert torch.equal(images, before)  # the student's own copy
    for image, (height, width) in zip(found, [(40, 64), (50, 33), (64, 20)], strict=True):
        assert image[:, height:].count_nonzero() == 0
        assert image[:, :, width:].count_nonzero() == 0


def test_images_of_the_same_preprocessor_are_not_copied() -> None:
    ours, theirs = (DetDataPreprocessor(**IMAGENET, **RGB) for _ in range(2))
    images = torch.randn(2, 3, 32, 32)
    assert Renormalise(ours, theirs)(images, [(32, 32), (20, 32)]) is images


def test_a_distilling_teacher_sees_them_so(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = distiller_config(lab)
    cfg["teacher"]["config"]["data_preprocessor"] |= CAFFE | BGR
    model, seen = MODELS.build(cfg), []
    look = model.teacher.features

    def watched(images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen.append(images)
        return look(images)

    monkeypatch.setattr(model.teacher, "features", watched)
    data = batch([2, 1, 0])
    expected = model.teacher.detector.data_preprocessor(copy.deepcopy(data))["inputs"]
    model(**model.data_preprocessor(data, training=True), mode="loss")
    torch.testing.assert_close(seen[0], expected, rtol=1e-5, atol=1e-4)


def distiller_config(lab: Lab) -> dict:
    """The model of a run of ICD."""
    return lab.config(lab.run(method="icd")).model.to_dict()
