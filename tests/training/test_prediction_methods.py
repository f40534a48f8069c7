"""CrossKD, BCKD and LD in training: with every detector that suits them, on any batch."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.optim import build_optim_wrapper

from icd.errors import InputError
from icd.experiments.options import shipped_methods
from icd.training.precision import use_bfloat16
from tests.lab import DENSE_HEAD, NARROW, Lab, batch, differing, snapshot, suits, teacher_of

DETECTORS = ("retinanet", "fcos", "atss", "gfl")
METHODS = ("crosskd", "bckd", "ld")
# LD weighs sides by the student's scores, which rise.
FALLING = ("loss_classes", "loss_boxes")
PAIRS = [(d, m) for d in DETECTORS for m in METHODS if suits(m, d)]
NARROW_HEADS = {"model": {**NARROW, "bbox_head": DENSE_HEAD}}


def built(lab: Lab, detector: str, method: str, **options: float) -> tuple[Any, Any]:
    """The Distiller of a run with a random teacher, and its optimiser."""
    lab = lab.changed({"detectors": {"atss": NARROW_HEADS, "gfl": NARROW_HEADS}})
    run = lab.run(detector=detector, method=method, options=options)
    lab.place_untrained(teacher_of(run))
    config = lab.config(run)
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    return model.train(), build_optim_wrapper(model, config.optim_wrapper)


@pytest.mark.parametrize(
    ("detector", "method", "bfloat16"),
    [*((*pair, False) for pair in PAIRS), ("fcos", "crosskd", True), ("gfl", "ld", True)],
)
def test_losses_fall_and_the_teacher_stays(
    lab: Lab, detector: str, method: str, bfloat16: bool
) -> None:
    """On a batch that is seen again; and one without objects has finite losses."""
    # The teacher knows nothing, so what it teaches must outweigh the annotations.
    model, wrapper = built(lab, detector, method, weight=20)
    teacher = snapshot(model.teacher.detector)
    if bfloat16:
        use_bfloat16(model, teacher=False)
    data, course = batch([3, 1]), []
    own = {"crosskd": ["classes", "boxes"], "bckd": ["classes", "boxes"]}
    names = [f"loss_{part}" for part in own.get(method, ["main", "valuable", "classes"])]
    for _ in range(6):
        log = model.train_step(copy.deepcopy(data), wrapper)
        assert all(torch.isfinite(value) for value in log.values())
        assert all(log[name] > 0 for name in names)
        course.append(sum(log[name].item() for name in names if name in FALLING))
    assert course[-1] < course[0]
    log = model.train_step(batch([0, 0]), wrapper)
    assert all(torch.isfinite(value) for value in log.values())
    assert not differing(snapshot(model.teacher.detector), teacher)
    assert all(p.isfinite().all() and p.grad is None for p in model.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_every_batch_touches_every_parameter(lab: Lab, method: str) -> None:
    """Data-parallel training does not look for unused ones."""
    model, _ = built(lab, "gfl", method)
    for objects in ([2, 1], [0, 1], [0, 0]):
        model.zero_grad(set_to_none=True)
        data = model.data_preprocessor(batch(objects), training=True)
        loss, _ = model.parse_losses(model(**data, mode="loss"))
        loss.backward()
        assert {n for n, p in model.named_parameters() if p.grad is None} == set()
        assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_they_have_no_parameters_and_need_no_adapter(lab: Lab, method: str) -> None:
    assert not shipped_methods()[method].learns
    teacher = {"detectors": {"wide": copy.deepcopy(WIDE)}}
    wide = lab.changed(teacher | {"methods": {method: {"optimizer": "student"}}})
    run = wide.run(detector="gfl", method=method, adapter=True, teacher={"detector": "wide"})
    wide.place_untrained(teacher_of(run))
    model = MODELS.build(wide.config(run).model)
    assert not list(model.method.parameters())
    data = model.data_preprocessor(batch([2, 1]), training=True)
    assert all(
        torch.isfinite(x) for x in model.parse_losses(model(**data, mode="loss"))[1].values()
    )


WIDE = {
    "config": "gfl/gfl_r50_fpn_1x_coco.py",
    "model": {
        "neck": {"out_channels": 24},
        "bbox_head": {
            "in_channels": 24,
            "feat_channels": 32,
            "stacked_convs": 2,
            "anchor_generator": {"octave_base_scale": 4},
            "norm_cfg": {"type": "GN", "num_groups": 4},
            "reg_max": 8,
        },
    },
}


@pytest.mark.parametrize(
    ("detector", "method", "problem"),
    [
        ("faster-rcnn", "bckd", "bbox_head: is missing in the student, a FasterRCNN"),
        ("faster-rcnn", "crosskd", "bbox_head: is missing in the student, a FasterRCNN"),
        ("retinanet", "ld", "over no bins in the student, no in the teacher; .* as in GFL"),
    ],
)
def test_other_detectors_are_refused(lab: Lab, detector: str, method: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        built(lab, detector, method)


def test_they_combine_with_methods_on_features(lab: Lab) -> None:
    """And with each other: both see the same heads."""
    run = lab.run(method=["icd", "crosskd", "bckd"], options={"crosskd": {"levels": [8, 32]}})
    model = MODELS.build(lab.config(run).model).train()
    data = model.data_preprocessor(batch([2, 1]), training=True)
    losses = model(**data, mode="loss")
    alone = MODELS.build(lab.config(lab.run(method="bckd")).model).train()
    alone.student.load_state_dict(model.student.state_dict())
    expected = alone(**data, mode="loss")
    assert losses["icd.loss_distillation"] > 0
    assert losses["crosskd.loss_classes"] > 0
    for name in ("loss_classes", "loss_boxes"):
        torch.testing.assert_close(losses[f"bckd.{name}"], expected[name])
