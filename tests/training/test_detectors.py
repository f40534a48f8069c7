"""Every detector of the shipped tracks: trains here, learns from a teacher, leaves as mmdet's."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from lab import Lab, differing, snapshot, weights
from mmdet.apis import inference_detector, init_detector
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from torch import nn

from icd.suite.run import Run
from icd.suite.track import load_track
from icd.training import distiller
from icd.training.config import plain_config

MINI, COCO = (load_track(name, {"coco": "coco"}).content for name in ("mini", "coco"))
MASKS = ("condinst", "mask-rcnn", "solov2")
BRIEF = {
    "images": {"scale": [64, 64]},
    "recipe": {"unit": 2, "batch_size": 2, "ramp": 0},
    "methods": {"icd": {"options": {"warmup": 0}}},
}
# What the pyramid's levels imply for the method: strides of P3-P7 and P2-P6.
HIGH, LOW = [8, 16, 32, 64, 128], [4, 8, 16, 32, 64]
PYRAMIDS = {
    "retinanet": (HIGH, 8.0, 300),
    "fcos": (HIGH, 8.0, 300),
    "atss": (HIGH, 8.0, 300),
    "condinst": (HIGH, 8.0, 300),
    "faster-rcnn": (LOW, 3.0, 100),
    "mask-rcnn": (LOW, 3.0, 100),
    "solov2": (LOW, 8.0, 100),
}


@pytest.fixture
def brief(mini: Lab) -> Lab:
    """The mini track with so few, small images that a training takes a second."""
    return mini.changed(BRIEF)


def step(model: nn.Module, data: dict[str, Any]) -> dict[str, float]:
    """Losses of one batch, with the gradients left behind."""
    model.train()
    losses = model(**model.data_preprocessor(copy.deepcopy(data), training=True), mode="loss")
    total, report = model.parse_losses(losses)
    total.backward()
    return {name: value.item() for name, value in report.items()}


def without_gradient(model: nn.Module) -> list[str]:
    """Parameters that should learn and do not, on which data-parallel training would stall."""
    return [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_both_scales_have_every_detector() -> None:
    assert MINI["detectors"].keys() == COCO["detectors"].keys() == PYRAMIDS.keys()
    for name, small in MINI["detectors"].items():
        assert small.get("methods") == COCO["detectors"][name].get("methods")


@pytest.mark.parametrize("name", MINI["detectors"])
def test_learns_from_its_labels_and_from_a_teacher(brief: Lab, name: str) -> None:
    run = brief.run(detector=name, method="icd")
    brief.place_untrained(run.teacher)
    config = brief.config(run)
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    data = next(iter(Runner.build_dataloader(config.train_dataloader)))
    before, hidden = snapshot(model), snapshot(model.teacher.detector)
    reports = []
    for _ in range(6):
        reports.append(step(model, data))
        assert without_gradient(model) == []
        for part in wrapper.optim_wrappers.values():
            part.step()
            part.zero_grad()
    assert all(math.isfinite(value) for report in reports for value in report.values())
    assert {"loss_identification", "loss_localisation", "loss_distillation"} < reports[0].keys()
    assert reports[-1]["loss"] < reports[0]["loss"]
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    # The same for all keys, which softmax does not see: rounding alone moves it, or nothing does.
    trained.remove("method.decoder.layers.0.attention.position.bias")
    assert trained <= set(differing(before, snapshot(model)))
    assert not differing(hidden, snapshot(model.teacher.detector))


@pytest.mark.parametrize("name", MINI["detectors"])
def test_trains_plainly_and_leaves_as_mmdets(brief: Lab, name: str) -> None:
    run = brief.run(detector=name, inherit=True)
    brief.place_untrained(run.teacher)
    folder = brief.train(run)
    metrics = brief.evaluate(run)["metrics"]
    kinds = {"segm"} if name == "solov2" else {"bbox", "segm"} if name in MASKS else {"bbox"}
    assert metrics.keys() == kinds
    files = {path.name for path in (folder / "test").glob("*.json")}
    assert files == {f"{kind}.json" for kind in kinds}
    assert "icd" not in (folder / "model.py").read_text()
    model = init_detector(str(folder / "model.py"), str(folder / "model.pth"), device="cpu")
    assert not differing(snapshot(model), weights(folder))
    found = inference_detector(model, str(next((brief.data / "test").glob("*.png"))))
    assert ("masks" in found.pred_instances) == (name in MASKS)


@pytest.mark.parametrize("name", COCO["detectors"])
def test_the_method_fits_the_pyramid(coco: Lab, name: str) -> None:
    strides, weight, cap = PYRAMIDS[name]
    run = coco.run(detector=name, method="icd")
    dump_teacher(coco, run)
    method = coco.config(run).model.method
    assert method.get("weight", 8.0) == weight
    assert method.get("query_cap", 300) == cap
    levels = weightless(coco, run).extract_feat(torch.zeros(1, 3, 256, 256, device="meta"))
    assert [256 // level.shape[-1] for level in levels] == strides


@pytest.mark.parametrize("backbone", COCO["backbones"])
@pytest.mark.parametrize("name", COCO["detectors"])
def test_every_pair_of_detector_and_backbone_builds(coco: Lab, name: str, backbone: str) -> None:
    run = coco.run(detector=name, backbone=backbone)
    model = weightless(coco, run)
    levels = model.extract_feat(torch.zeros(1, 3, 64, 64, device="meta"))
    assert [level.shape[1] for level in levels] == [256] * 5
    assert model.backbone.init_cfg["type"] == "Pretrained"
    images = plain_config(run, coco.inputs).model.data_preprocessor
    assert (images.mean, images.bgr_to_rgb) == ([123.675, 116.28, 103.53], True)  # as it was then


@pytest.mark.parametrize(
    ("name", "backbone"),
    [(name, "resnet50") for name in COCO["detectors"]]
    + [("retinanet", "mobilenetv2"), ("faster-rcnn", "efficientnet-b0")],
)
def test_one_step_at_full_width(
    coco: Lab, name: str, backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A teacher with ResNet-101, random weights, one small image with masks."""
    monkeypatch.setattr(distiller, "load_weights", lambda *_: None)
    run = coco.run(detector=name, backbone=backbone, method="icd", options={"warmup": 0})
    dump_teacher(coco, run)
    torch.manual_seed(0)
    model = MODELS.build(coco.config(run).model)
    data = demo_mm_inputs(1, [(3, 128, 160)], num_items=[3], num_classes=80, with_mask=True)
    report = step(model, data)
    assert all(math.isfinite(value) for value in report.values())
    assert report["loss_distillation"] > 0
    assert without_gradient(model) == []


def weightless(lab: Lab, run: Run) -> nn.Module:
    """The detector of a run on the meta device: shapes without numbers."""
    config = plain_config(run, lab.inputs).model
    # EfficientNet computes with the values of a tensor as it is built.
    place = "cpu" if config.backbone.type == "EfficientNet" else "meta"
    with torch.device(place):
        return MODELS.build(config).to("meta")


def dump_teacher(lab: Lab, run: Run) -> None:
    """The config of a run's teacher where its training would leave it."""
    folder = lab.folder(run.teacher)
    folder.mkdir(parents=True)
    plain_config(run.teacher, lab.inputs).dump(folder / "model.py")
