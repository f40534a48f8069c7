"""mmdet builds the heads of all detectors with derived sizes, and they have these sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from icd.experiments.run import TrainedRun
from icd.experiments.track import Track, load_track
from icd.new_track.new import write_track
from icd.training.config import base_config, detector
from tests.new_track.folders import write_image

SIDE = 10  # pixels of each object; after resizing, half the smallest anchor of COCO


@pytest.fixture
def track(tmp_path: Path) -> Track:
    """A track whose objects are small and have masks."""
    images, annotations = [], []
    for i in range(12):
        write_image(tmp_path / f"user/{i}.jpg", i)
        images.append({"id": i, "file_name": f"{i}.jpg", "width": 96, "height": 64})
        box = [10 + i, 8, SIDE, SIDE]
        square = [10 + i, 8, 20 + i, 8, 20 + i, 18, 10 + i, 18]
        annotations.append({"id": i + 1, "image_id": i, "category_id": 1, "bbox": box})
        annotations[-1] |= {"segmentation": [square], "area": SIDE**2, "iscrowd": 0}
    content = {"images": images, "annotations": annotations}
    content["categories"] = [{"id": 1, "name": "bee"}]
    (tmp_path / "user/all.json").write_text(json.dumps(content))
    write_track(tmp_path / "user", name="bees")
    return load_track("bees.yaml")


def model_of(track: Track, name: str) -> Any:
    """The config of a detector's model on a track."""
    run = track.describe({"role": "student", "detector": name}, 0)
    assert isinstance(run, TrainedRun)
    return detector(run, base_config(run), 1)


def test_heads_have_the_derived_sizes(track: Track) -> None:
    init_default_scope("mmdet")
    scale = track.content.images.scale
    side = SIDE * min(scale) / 64  # after resizing
    base = track.content.detectors["retinanet"].model["bbox_head"]["anchor_generator"]
    base = base["octave_base_scale"]
    assert base < 4
    for name in ("retinanet", "fcos", "atss", "gfl", "condinst"):
        head = MODELS.build(model_of(track, name)["bbox_head"])
        if name in ("fcos", "condinst"):
            assert head.regress_ranges[0] == [-1, 16 * base]
            continue
        corners = head.prior_generator.base_anchors[0].numpy()
        sides = np.sqrt((corners[:, 2:] - corners[:, :2]).prod(axis=1))
        assert sides.min() == pytest.approx(8 * base * (1 if name == "retinanet" else 2))
        if name == "retinanet":
            assert min(abs(np.log2(sides / side))) < 0.3
    for name in ("faster-rcnn", "mask-rcnn"):
        model = model_of(track, name)
        corners = MODELS.build(model["rpn_head"]).prior_generator.base_anchors[0].numpy()
        sides = np.sqrt((corners[:, 2:] - corners[:, :2]).prod(axis=1))
        assert sides == pytest.approx([8.0 * base] * 3)
        for key in ("bbox_roi_extractor", "mask_roi_extractor")[: 1 + (name == "mask-rcnn")]:
            assert MODELS.build(model["roi_head"][key]).finest_scale == 14 * base
    head = MODELS.build(model_of(track, "solov2")["mask_head"])
    assert head.scale_ranges[0] == [1, 24 * base]
