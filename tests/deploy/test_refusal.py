"""What cannot be exported is refused in one line that says why."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from icd.deploy.describe import Form, pixels_of, resize_of
from icd.deploy.export import export
from icd.deploy.refusal import refusal
from icd.errors import InputError
from icd.experiments.yaml_files import ROOT
from icd.training.config import plain_config
from tests.deploy.tiny import NAMES, place, small
from tests.lab import Lab

Change = Callable[[Any], Any]


def reason(lab: Lab, name: str, change: dict[str, Any] | None = None) -> str | None:
    """Why a detector of mini is refused, with other values in its model."""
    init_default_scope("mmdet")
    config = plain_config(lab.run(detector=name), lab.inputs)
    config = small(config) if name in NAMES else config
    config.merge_from_dict({"model": change or {}})
    return refusal(MODELS.build(config.model))


@pytest.mark.parametrize("name", NAMES)
def test_the_detectors_of_the_paper_are_exported(lab_of_mini: Lab, name: str) -> None:
    assert reason(lab_of_mini, name) is None


SOFTMAX = {"loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": False, "_delete_": True}}
SOFT_NMS = {"nms": {"type": "soft_nms", "iou_threshold": 0.5}}
ALL_LEVELS = {
    "type": "GenericRoIExtractor",
    "roi_layer": {"type": "RoIAlign", "output_size": 14},
    "out_channels": 8,
    "featmap_strides": [4, 8],
    "_delete_": True,
}
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "CondInst": ("condinst", {}, "CondInst predicts in a way of its own"),
    "SOLOv2": ("solov2", {}, "SOLOv2 predicts in a way of its own"),
    "softmax": ("retinanet", {"bbox_head": SOFTMAX}, "RetinaHead has no sigmoid for each class"),
    "soft NMS": ("fcos", {"test_cfg": SOFT_NMS}, "ONNX has no operator for its non-maximum sup"),
    "soft NMS, second stage": ("faster-rcnn", {"test_cfg": {"rcnn": SOFT_NMS}}, "ONNX has no op"),
    "all candidates": ("atss", {"test_cfg": {"nms_pre": -1}}, "nms_pre in its test_cfg does not"),
    "small boxes": ("gfl", {"test_cfg": {"min_bbox_size": 4}}, "min_bbox_size in its test_cfg c"),
    "other boxes": (
        "retinanet",
        {"bbox_head": {"bbox_coder": {"type": "TBLRBBoxCoder", "_delete_": True}}},
        "TBLRBBoxCoder encodes its boxes",
    ),
    "max pooling": (
        "faster-rcnn",
        {"roi_head": {"bbox_roi_extractor": {"roi_layer": {"pool_mode": "max"}}}},
        "SingleRoIExtractor is not RoIAlign on one level for each region",
    ),
    "all levels": (
        "mask-rcnn",
        {"roi_head": {"mask_roi_extractor": ALL_LEVELS}},
        "GenericRoIExtractor is not RoIAlign on one level for each region",
    ),
    "Double-Head": (
        "faster-rcnn",
        {"roi_head": {"type": "DoubleHeadRoIHead", "reg_roi_scale_factor": 1.3}},
        "DoubleHeadRoIHead is not the head of Faster R-CNN or Mask R-CNN",
    ),
}


@pytest.mark.parametrize(("name", "change", "words"), REFUSED.values(), ids=REFUSED)
def test_others_are_refused(
    lab_of_mini: Lab, name: str, change: dict[str, Any], words: str
) -> None:
    given = reason(lab_of_mini, name, change)
    assert given is not None
    assert given.startswith(words)


def test_the_command_says_so_in_one_line(lab_of_mini: Lab, tmp_path: Path) -> None:
    """In a process of its own, which has imported nothing before."""
    run = lab_of_mini.run(detector="solov2")
    lab_of_mini.place_untrained(run)
    folder, output = lab_of_mini.folder(run), tmp_path / "model.onnx"
    command = [sys.executable, "-m", "icd", "export", str(folder), "--onnx", str(output)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == (
        f"error: {folder}/model.py: model: SOLOv2 cannot be exported: SOLOv2 predicts in a way of "
        "its own; expected RetinaNet, FCOS, ATSS, GFL, Faster R-CNN, Mask R-CNN or one that "
        "predicts like them"
    )
    assert not output.exists()


def test_masks_need_suppression(lab_of_mini: Lab, tmp_path: Path) -> None:
    folder = place(lab_of_mini, "mask-rcnn")
    with pytest.raises(InputError, match="masks are computed for the boxes that non-maximum"):
        export(folder, tmp_path / "model.onnx", Form(nms=False))


def test_a_size_that_no_padding_gives_is_refused(lab_of_mini: Lab, tmp_path: Path) -> None:
    folder = place(lab_of_mini, "fcos")
    with pytest.raises(InputError, match="--size: is 64 100; expected multiples of 32"):
        export(folder, tmp_path / "model.onnx", Form(size=(64, 100)))


STEPS: list[dict[str, Any]] = [
    {"type": "LoadImageFromFile"},
    {"type": "Resize", "scale": (1333, 800), "keep_ratio": True},
    {"type": "PackDetInputs"},
]


def test_an_unknown_way_to_prepare_images_is_refused(lab_of_mini: Lab) -> None:
    assert (resize_of(STEPS, "x").longest, resize_of(STEPS, "x").shortest) == (1333, 800)
    stretched = [STEPS[0], STEPS[1] | {"keep_ratio": False}, STEPS[2]]
    for steps, words in (
        ([*STEPS, {"type": "mmdet.Pad"}], "Pad prepares images in a way that a contract does"),
        (stretched, "Resize prepares images in a way that"),
        ([{"type": "RandomFlip", "prob": 0.5}, *STEPS], "RandomFlip prepares images in a way"),
    ):
        with pytest.raises(InputError, match=rf"^x: test_dataloader\.dataset\.pipeline: {words}"):
            resize_of(steps, "x")
    config = plain_config(lab_of_mini.run(), lab_of_mini.inputs)
    bare = Config(copy.deepcopy(config.to_dict()))
    bare.model.data_preprocessor.mean = None
    assert pixels_of(config, "x").channels == "RGB"
    with pytest.raises(InputError, match=r"^x: model\.data_preprocessor: DetDataPreprocessor pre"):
        pixels_of(bare, "x")
