"""Teachers and students of different kinds: which pairs work, and clear errors for the rest."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.optim import build_optim_wrapper

from icd.errors import InputError
from icd.experiments.run import TrainedRun
from icd.methods.adapter import Adapted
from icd.training.hooks.inherit import inherit
from tests.lab import HEAD, WIDTH, Lab, batch, snapshot, teacher_of, weights

pytestmark = pytest.mark.slow

METHODS = ("icd", "fitnet", "cwd", "pkd", "mgd", "fgd")
WIDE = 24  # channels of a teacher's pyramid that is not the student's
ADAM = {"type": "AdamW", "lr": 1e-3}
OTHERS = {
    "detectors": {
        "wide": {
            "config": "retinanet/retinanet_r50_fpn_1x_coco.py",
            "model": {
                "neck": {"out_channels": WIDE},
                "bbox_head": {**HEAD, "in_channels": WIDE, "feat_channels": WIDE},
            },
        },
    },
    "backbones": {
        "mobilenetv2": {
            "backbone": {"_delete_": True, "type": "MobileNetV2", "widen_factor": 0.25},
            "neck": {"in_channels": [8, 8, 24, 1280]},
        },
    },
    "methods": {name: {"optimizer": ADAM} for name in ("cwd", "pkd")},
}


@pytest.fixture
def pairs(lab: Lab) -> Lab:
    return lab.changed(OTHERS)


def built(lab: Lab, run: TrainedRun) -> tuple[Any, Any]:
    """The Distiller of a run with a random teacher, and its optimisers."""
    lab.place_untrained(teacher_of(run))
    config = lab.config(run)
    model = MODELS.build(config.model)
    model.init_weights()
    return model.train(), build_optim_wrapper(model, config.optim_wrapper)


def check_trains(lab: Lab, run: TrainedRun) -> Any:
    model, wrapper = built(lab, run)
    model.iteration = 1000  # past the warm-up
    for _ in range(2):
        log = model.train_step(copy.deepcopy(batch([2, 0])), wrapper)
        assert all(torch.isfinite(value) for value in log.values())
    return model


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("student", "source", "levels"),
    [("retinanet", "fcos", 5), ("retinanet", "faster-rcnn", 4), ("faster-rcnn", "retinanet", 4)],
)
def test_detectors_may_differ(
    pairs: Lab, method: str, student: str, source: str, levels: int
) -> None:
    change: dict[str, Any] = {"options": {"levels": "all"}, "teacher": {"detector": source}}
    run = pairs.run(detector=student, method=method, **change)
    assert teacher_of(run).detector.name == source
    model = check_trains(pairs, run)
    seen = []
    hook = model.method.register_forward_pre_hook(lambda module, inputs: seen.extend(inputs[:2]))
    with torch.no_grad():
        model(**model.data_preprocessor(batch([1]), training=True), mode="loss")
    hook.remove()
    theirs, ours = ([level.shape for level in pyramid] for pyramid in seen)
    assert ours == theirs
    assert len(ours) == levels
    assert [shape[-1] for shape in ours] == [8, 4, 2, 1, 1][:levels]  # of 64 pixels, from P3


@pytest.mark.parametrize("method", METHODS)
def test_a_method_sees_the_chosen_levels_alone(pairs: Lab, method: str) -> None:
    """They are 8 x 8 and 2 x 2 cells of images of 64 x 64 pixels; parameters are for these two."""
    run = pairs.run(method=method, options={"levels": [8, 32]})
    model = check_trains(pairs, run)
    seen: list[Any] = []
    hook = model.method.register_forward_pre_hook(lambda module, inputs: seen.extend(inputs[:3]))
    with torch.no_grad():
        model(**model.data_preprocessor(batch([1]), training=True), mode="loss")
    hook.remove()
    teacher, student, targets = seen
    for pyramid in (teacher, student):
        assert [level.shape[-2:] for level in pyramid] == [(8, 8), (2, 2)]
    assert targets.strides == [8, 32]


@pytest.mark.parametrize("method", METHODS)
def test_widths_may_differ_with_an_adapter(pairs: Lab, method: str) -> None:
    """ICD and FitNet map the student's features themselves."""
    run = pairs.run(method=method, adapter=True, teacher={"detector": "wide"})
    model = check_trains(pairs, run)
    assert isinstance(model.method, Adapted) is (method not in ("icd", "fitnet"))
    own = {name for name in model.state_dict() if name.startswith("student.")}
    plain = MODELS.build(pairs.config(pairs.run()).model)
    assert own == {f"student.{name}" for name in plain.state_dict()}


def test_equal_widths_need_no_adapter(pairs: Lab) -> None:
    run = pairs.run(method="cwd", adapter=True)
    assert not isinstance(built(pairs, run)[0].method, Adapted)


def test_backbones_of_other_families_teach(pairs: Lab) -> None:
    run = pairs.run(method="icd", inherit=True, teacher={"backbone": "mobilenetv2"})
    check_trains(pairs, run)


def test_other_widths_are_refused_before_anything_runs(pairs: Lab) -> None:
    message = rf"neck\.out_channels: is {WIDTH}, .* {WIDE}; .* or adapter: true"
    with pytest.raises(InputError, match=message):
        pairs.run(method="pkd", teacher={"detector": "wide"})


def test_an_adapter_needs_an_optimiser(lab: Lab) -> None:
    with pytest.raises(InputError, match=r"methods\.pkd\.optimizer: is missing.*for the adapter"):
        lab.run(method="pkd", adapter=True)


def test_an_inheritance_across_pyramids_goes_by_stride(pairs: Lab) -> None:
    """P3 of Faster R-CNN is its second level, of RetinaNet the first."""
    student, teacher = (
        MODELS.build(pairs.config(pairs.run(detector=name)).model)
        for name in ("retinanet", "faster-rcnn")
    )
    own, theirs = snapshot(student), snapshot(teacher)
    taken, left = inherit(student, theirs, shift=1)
    after = student.state_dict()
    for level in range(3):
        name = f"neck.fpn_convs.{level}.conv.weight"
        assert name in taken
        assert torch.equal(after[name], theirs[f"neck.fpn_convs.{level + 1}.conv.weight"])
    for level in (3, 4):  # P6 and P7, which RetinaNet has convolutions for
        name = f"neck.fpn_convs.{level}.conv.weight"
        assert name in left
        assert torch.equal(after[name], own[name])


@pytest.mark.parametrize(
    ("source", "shared"),
    [
        ("fcos", ["neck.fpn_convs.0.conv.weight", "bbox_head.cls_convs.0.conv.weight"]),
        ("faster-rcnn", ["neck.lateral_convs.0.gn.weight"]),
    ],
)
def test_a_run_inherits_what_agrees(pairs: Lab, source: str, shared: list[str]) -> None:
    run = pairs.run(method="pkd", inherit=True, teacher={"detector": source})
    pairs.place_untrained(teacher_of(run))
    (hook,) = (h for h in pairs.config(run).custom_hooks if h["type"] == "InheritHook")
    assert hook.get("shift", 0) == (source == "faster-rcnn")
    folder = pairs.train(run)
    assert weights(folder).keys() >= set(shared)
    text = "".join(path.read_text() for path in (folder / "work").rglob("*.log"))
    count = int(re.findall(r"inherited (\d+) tensors", text)[0])
    assert count >= len(shared)
    for name in shared:
        left = re.findall(r"keep their own initialisation: (.*)", text)[0]
        assert f"'{name}'" not in left
