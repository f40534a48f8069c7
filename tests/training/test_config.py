"""Configs contain what the track states; all else is mmdet's."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS, MODELS, TRANSFORMS
from mmdet.visualization import get_palette
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.optim import build_optim_wrapper

from icd.data.reading import SMALLEST_SIDE
from icd.errors import InputError
from icd.experiments.ablation import ablation_names, load_ablation
from icd.experiments.options import Method
from icd.experiments.run import ImportedRun, TrainedRun
from icd.training.base_config import flat
from icd.training.config import plain_config
from icd.training.pipeline import pipeline
from icd.training.what_is_used import say_what_is_used
from tests.experiments.track_files import changed
from tests.lab import Lab, differing, quick_configs, snapshot, teacher_of

RETINANET = "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"


def plain(lab: Lab, run: TrainedRun | ImportedRun) -> Config:
    return plain_config(run, lab.inputs)


def leaves(tree: Any, path: str = "") -> dict[str, Any]:
    """The values of nested dictionaries and lists under their paths."""
    if not isinstance(tree, (dict, list, tuple)):
        return {path: tree}
    parts: Iterable[tuple[Any, Any]] = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return {k: v for key, part in parts for k, v in leaves(part, f"{path}.{key}").items()}


def step(pipeline: list[dict], name: str) -> dict:
    return next(step for step in pipeline if name in step["type"])


@pytest.mark.parametrize("name", ablation_names())
def test_runs_of_the_shipped_ablations_build(mini: Lab, name: str) -> None:
    """Model and optimiser of every row, and the plain detector that is left of it."""
    rows = load_ablation(name, mini.track).rows
    for run in {run.id: run for row in rows for run in row.runs[:1]}.values():
        assert isinstance(run, TrainedRun)
        if run.teacher and not mini.folder(run.teacher).exists():
            mini.place_untrained(teacher_of(run))
        config = mini.config(run)
        model = MODELS.build(config.model)
        build_optim_wrapper(model, config.optim_wrapper)
        student = model.student if run.method else model
        bare = MODELS.build(plain(mini, run).model)
        assert snapshot(student).keys() == snapshot(bare).keys()
        assert {p.device.type for p in model.parameters()} == {"cpu"}


@pytest.mark.parametrize(
    "shipped",
    [
        "retinanet/retinanet_r50_fpn_1x_coco.py",
        "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py",
        "cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py",  # a list of heads
        "solov2/solov2_r50_fpn_1x_coco.py",
    ],
)
def test_number_of_classes_is_the_tracks_everywhere(coco: Lab, lab: Lab, shipped: str) -> None:
    other = replace(
        coco.changed({"detectors": {"retinanet": {"config": shipped}}}), survey=lab.survey
    )
    model = plain(other, other.run()).model.to_dict()
    found = {value for path, value in leaves(model).items() if path.endswith(".num_classes")}
    assert found == {8}
    theirs = leaves(get_config(f"mmdet::{shipped}").model.to_dict())
    assert {path for path in theirs if path.endswith(".num_classes")} <= leaves(model).keys()


def test_number_of_things_is_the_tracks(coco: Lab, lab: Lab) -> None:
    """Mask2Former has a weight for each class and for none."""
    shipped = "mask2former/mask2former_r50_8xb2-lsj-50e_coco.py"
    content = coco.track.content.stated()
    content["detectors"] = {"retinanet": {"config": shipped}}
    content["backbones"] = {"own": {"backbone": {}}}
    for role in content["roles"].values():
        role["backbone"] = "own"
    other = replace(coco.stating(content), survey=lab.survey)
    model = plain(other, other.run()).model
    head = model.panoptic_head
    assert head.num_things_classes == model.panoptic_fusion_head.num_things_classes == 8
    assert head.loss_cls.class_weight == [1.0] * 8 + [0.1]


def test_a_model_is_mmdets_but_for_what_the_track_changes(coco: Lab) -> None:
    theirs = leaves(get_config(RETINANET).model.to_dict())
    means, stds = ([103.53, 116.28, 123.675], [1.0, 1.0, 1.0])
    expected = {
        ".backbone.style": "caffe",
        ".backbone.norm_cfg.requires_grad": False,
        ".backbone.init_cfg.checkpoint": "open-mmlab://detectron2/resnet50_caffe",
        ".data_preprocessor.bgr_to_rgb": False,
        **{f".data_preprocessor.mean.{i}": means[i] for i in (0, 2)},
        **{f".data_preprocessor.std.{i}": stds[i] for i in range(3)},
        ".neck.relu_before_extra_convs": True,
        ".bbox_head.loss_bbox.type": "SmoothL1Loss",
        ".bbox_head.loss_bbox.beta": 0.1,
    }
    student, teacher = (
        leaves(plain(coco, coco.run(role=role)).model.to_dict()) for role in ("student", "teacher")
    )
    changed = {path: value for path, value in student.items() if theirs.get(path) != value}
    assert changed == expected
    assert theirs.keys() <= student.keys()
    assert {path: value for path, value in teacher.items() if student.get(path) != value} == {
        ".backbone.depth": 101,
        ".backbone.init_cfg.checkpoint": "open-mmlab://detectron2/resnet101_caffe",
    }


@pytest.mark.parametrize("detector", ["retinanet", "fcos"])
def test_normalisation_is_that_of_the_weights(coco: Lab, detector: str) -> None:
    """Whichever mmdet's config of the detector has; padding and masks stay as it has them."""
    for backbone, entry in coco.track.content.backbones.items():
        assert entry.data_preprocessor
        images = plain(coco, coco.run(detector=detector, backbone=backbone)).model.data_preprocessor
        assert images.to_dict().items() >= entry.data_preprocessor.model_dump().items()
        assert images.pad_size_divisor == 32


def test_the_minis_changes_arrive(mini: Lab) -> None:
    model = plain(mini, mini.run()).model
    base = get_config(RETINANET).model
    assert model.backbone.base_channels == 8
    assert model.neck.in_channels == [8, 16, 32, 64]
    assert model.neck.out_channels == model.bbox_head.in_channels == 32
    assert model.backbone.init_cfg is None
    for untouched in ("data_preprocessor", "train_cfg", "test_cfg"):
        assert model[untouched] == base[untouched]
    assert model.bbox_head.loss_cls == base.bbox_head.loss_cls


def test_images_are_resized_and_flipped_as_the_track_says(mini: Lab) -> None:
    steps = mini.config(mini.run()).train_dataloader.dataset.pipeline
    assert steps[0]["type"] == "SeedByPlace"
    assert [s["type"] for s in steps[1:]] == [s.type for s in get_config(RETINANET).train_pipeline]
    assert step(steps, "Flip") == {
        "type": "RandomFlip",
        "prob": [0.25, 0.25, 0.25],
        "direction": ["horizontal", "vertical", "diagonal"],
    }
    size = {"type": "Resize", "scale": (96, 96), "keep_ratio": True}
    assert step(steps, "Resize") == size
    test = plain(mini, mini.run()).test_dataloader.dataset.pipeline
    assert step(test, "Resize") == size
    assert not any("Flip" in s["type"] for s in test)


def test_several_sides_are_drawn_in_training_alone(coco: Lab) -> None:
    steps = coco.config(coco.run()).train_dataloader.dataset.pipeline
    assert step(steps, "Resize") == {
        "type": "RandomChoiceResize",
        "scales": [(1333, side) for side in (640, 672, 704, 736, 768, 800)],
        "keep_ratio": True,
    }
    assert step(steps, "Flip") == {"type": "RandomFlip", "prob": [0.5], "direction": ["horizontal"]}
    test = plain(coco, coco.run()).test_dataloader.dataset.pipeline
    assert step(test, "Resize") == {"type": "Resize", "scale": (1333, 800), "keep_ratio": True}


def test_no_flips(mini: Lab) -> None:
    lab = mini.changed({"images": {"flips": []}})
    steps = lab.config(lab.run()).train_dataloader.dataset.pipeline
    flip = TRANSFORMS.build(step(steps, "Flip"))
    assert not any(flip({"img": np.ones((8, 8, 3))})["flip"] for _ in range(20))


@pytest.mark.parametrize(
    ("shipped", "kind"),
    [
        ("condinst/condinst_r50_fpn_ms-poly-90k_coco_instance.py", "RandomChoiceResize"),
        ("mask_rcnn/mask-rcnn_r50_fpn_ms-poly-3x_coco.py", "RandomResize"),
    ],
)
def test_a_config_that_draws_sizes_gets_the_tracks_instead(
    mini: Lab, shipped: str, kind: str
) -> None:
    steps = get_config(f"mmdet::{shipped}").train_pipeline
    assert kind in {s.type for s in steps}
    sizes = [s for s in pipeline(steps, mini.track.content.images, True) if "Resize" in s["type"]]
    assert sizes == [{"type": "Resize", "scale": (96, 96), "keep_ratio": True}]


def names(steps: list[dict]) -> list[str]:
    return [step["type"] for step in steps]


@pytest.mark.parametrize(
    ("shipped", "expected"),
    [
        (
            "detr/detr_r50_8xb2-150e_coco.py",  # a choice of resizes and crops
            ["RandomFlip", "Resize"],
        ),
        (
            "rtmdet/rtmdet_tiny_8xb32-300e_coco.py",  # mosaics and mixtures of 640 x 640 pixels
            ["Resize", "YOLOXHSVRandomAug", "RandomFlip", "Pad"],
        ),
        (
            "yolox/yolox_s_8xb8-300e_coco.py",  # the same, from several images by a wrapper
            ["YOLOXHSVRandomAug", "RandomFlip", "Resize", "Pad", "FilterAnnotations"],
        ),
        (
            "centernet/centernet_r18_8xb16-crop512-140e_coco.py",  # crops of 512 x 512
            ["PhotoMetricDistortion", "Resize", "RandomFlip"],
        ),
        (
            "ssd/ssd300_coco.py",  # crops relative to the image
            ["Expand", "MinIoURandomCrop", "Resize", "RandomFlip", "PhotoMetricDistortion"],
        ),
    ],
)
def test_steps_that_state_pixels_give_way(mini: Lab, shipped: str, expected: list[str]) -> None:
    base = flat(get_config(f"mmdet::{shipped}"))
    images = mini.track.content.images
    steps = pipeline(base.train_pipeline, images, True)
    around = ["LoadImageFromFile", "LoadAnnotations", *expected, "PackDetInputs"]
    assert names(steps) == around
    keeps = not shipped.startswith("ssd")  # which gives all images one size
    assert step(steps, "Resize") == {"type": "Resize", "scale": (96, 96), "keep_ratio": keeps}
    kept = {"Resize", "RandomFlip", "Pad"}
    assert [s for s in steps if s["type"] not in kept] == [
        s for s in base.train_pipeline if s["type"] in {*names(steps)} - kept
    ]


@pytest.mark.parametrize("name", ["rtmdet_tiny_8xb32-300e_coco", "rtmdet-ins_s_8xb32-300e_coco"])
def test_padding_to_a_size_becomes_one_to_a_multiple(mini: Lab, name: str) -> None:
    base = get_config(f"mmdet::rtmdet/{name}.py")
    for steps, train in ((base.train_pipeline, True), (base.test_pipeline, False)):
        found = step(pipeline(steps, mini.track.content.images, train), "Pad")
        assert found["size_divisor"] == 32
        assert "size" not in found
        assert found["pad_val"] == {"img": (114, 114, 114)}


def test_a_config_that_resizes_nothing_is_resized_once_its_images_are_read(mini: Lab) -> None:
    """CenterNet tests images as they are, padded. Boxes are found in the resized image."""
    base = get_config("mmdet::centernet/centernet_r18_8xb16-crop512-140e_coco.py")
    steps = pipeline(base.test_pipeline, mini.track.content.images, False)
    assert names(steps)[:3] == ["LoadImageFromFile", "Resize", "RandomCenterCropPad"]
    assert steps[2] == base.test_pipeline[1]
    assert {"border", "scale_factor"} <= {*steps[-1]["meta_keys"]}


def test_batches_keep_the_tracks_sizes(mini: Lab) -> None:
    """YOLOX resizes batches at random, from 480 pixels on."""
    config = "yolox/yolox_s_8xb8-300e_coco.py"
    backbones: dict[str, Any] = {"own": {"backbone": {}}}
    lab = mini.from_scratch().changed(
        {"detectors": {"yolox": {"config": config}}, "backbones": backbones}
    )
    run = lab.run(detector="yolox", backbone="own")
    assert get_config(f"mmdet::{config}").model.data_preprocessor.batch_augments
    for model in (plain(lab, run).model, lab.config(run).model):
        assert model.data_preprocessor.batch_augments == []
        assert model.data_preprocessor.pad_size_divisor == 32


def test_changes_of_a_backbone_reach_the_first_of_several_necks(mini: Lab) -> None:
    config = "dyhead/atss_r50_fpn_dyhead_1x_coco.py"
    model = {"neck": {"1": {"num_blocks": 1}}}
    lab = mini.changed({"detectors": {"dyhead": {"config": config, "model": model}}})
    first, second = plain(lab, lab.run(detector="dyhead")).model.neck
    assert (first.type, first.in_channels) == ("FPN", [8, 16, 32, 64])
    assert (second.type, second.num_blocks) == ("DyHead", 1)


def test_a_head_that_asks_for_the_epoch_is_told(mini: Lab) -> None:
    lab = mini.changed({"detectors": {"tood": {"config": "tood/tood_r50_fpn_1x_coco.py"}}})
    hooks = [lab.config(lab.run(detector=name)).custom_hooks for name in ("tood", "atss")]
    told = [[hook for hook in own if hook["type"] == "EpochHook"] for own in hooks]
    assert told == [[{"type": "EpochHook", "batch": 8}], []]


def test_the_masks_of_condinst_are_read_as_polygons(mini: Lab) -> None:
    steps = mini.config(mini.run(detector="condinst")).train_dataloader.dataset.pipeline
    annotations = step(steps, "LoadAnnotations")
    assert annotations["with_mask"]
    assert annotations["poly2mask"] is False  # as mmdet has it


def test_a_backbone_of_another_type_replaces_the_configs(coco: Lab) -> None:
    run = coco.run(backbone="mobilenetv2", detector="fcos")
    before = copy.deepcopy(run.description)
    for _ in range(2):  # the second time as the first
        model = plain(coco, run).model
        assert model.backbone == {
            key: value
            for key, value in coco.track.content.backbones["mobilenetv2"].backbone.items()
            if key != "_delete_"
        }
        assert model.neck.in_channels == [24, 32, 96, 1280]
    assert run.description == before


@pytest.mark.parametrize(("gpus", "per_device"), [(0, 16), (1, 16), (4, 4), (8, 2)])
def test_the_batch_is_shared_among_the_devices(coco: Lab, gpus: int, per_device: int) -> None:
    lab = coco.changed({"machine": {"gpus": gpus}})
    assert lab.config(lab.run()).train_dataloader.batch_size == per_device


@pytest.mark.parametrize("gpu", [True, False])
def test_batches_reach_a_gpu_without_waiting(
    coco: Lab, monkeypatch: pytest.MonkeyPatch, gpu: bool
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    run = coco.run(method="icd")
    coco.place_untrained(teacher_of(run))
    config = coco.config(run, workers=4)
    assert config.train_dataloader.pin_memory is gpu
    assert config.train_dataloader.persistent_workers
    assert MODELS.build(config.model).data_preprocessor._non_blocking
    assert "non_blocking" not in plain(coco, run).model.data_preprocessor
    assert plain(coco, run).test_dataloader.num_workers == 0  # depends on no machine


def test_images_without_objects_are_left_out_as_mmdet_does(coco: Lab) -> None:
    theirs = get_config(RETINANET).train_dataloader.dataset.filter_cfg
    assert coco.config(coco.run()).train_dataloader.dataset.filter_cfg == theirs
    assert "filter_cfg" not in plain(coco, coco.run()).test_dataloader.dataset


def test_splits(coco: Lab) -> None:
    train = coco.config(coco.run()).train_dataloader.dataset
    config = plain(coco, coco.run())
    test = config.test_dataloader.dataset
    assert train.ann_file == "annotations/instances_train2017.json"
    assert (test.ann_file, test.data_prefix.img) == (
        "annotations/instances_val2017.json",
        "val2017",
    )
    assert Path(config.test_evaluator.ann_file) == coco.data / "annotations/instances_val2017.json"
    assert train.metainfo.classes == test.metainfo.classes == coco.inputs.survey["classes"]


@pytest.mark.parametrize(
    ("shipped", "kinds"),
    [
        ("retinanet/retinanet_r50_fpn_1x_coco.py", ["bbox"]),
        ("mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py", ["bbox", "segm"]),
        ("solov2/solov2_r50_fpn_1x_coco.py", ["segm"]),
    ],
)
def test_what_is_evaluated_is_what_the_detector_finds(
    coco: Lab, shipped: str, kinds: list[str]
) -> None:
    lab = coco.changed({"detectors": {"retinanet": {"config": shipped}}})
    assert plain(lab, lab.run()).test_evaluator.metric == kinds


@pytest.mark.parametrize(
    ("name", "mean"),
    [
        ("retinanet_r101_fpn_ms-640-800-3x_coco", [123.675, 116.28, 103.53]),
        ("retinanet_r50-caffe_fpn_1x_coco", [103.53, 116.28, 123.675]),
    ],
)
def test_a_teacher_of_the_zoo_is_mmdets_on_the_tracks_images(
    coco: Lab, name: str, mean: list[float]
) -> None:
    content = changed(coco.track.content.stated(), "roles.teacher", {"zoo": name})
    lab = coco.stating(content)
    config = plain(lab, lab.imported_teacher())
    assert leaves(config.model.to_dict()) == leaves(
        get_config(f"mmdet::retinanet/{name}.py").model.to_dict()
    )
    assert config.model.data_preprocessor.mean == mean
    resize = step(config.test_dataloader.dataset.pipeline, "Resize")
    assert resize["scale"] == (1333, 800)


def test_an_unknown_config_is_named(lab: Lab) -> None:
    lab = lab.changed({"detectors": {"retinanet": {"config": "retinanet/none.py"}}})
    message = "retinanet/none.py: does not exist; expected a config that mmdet ships"
    with pytest.raises(InputError, match=re.escape(message)):
        plain(lab, lab.run())


def test_a_config_may_be_a_file_of_the_users(coco: Lab, tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(f"_base_ = {RETINANET!r}\nmodel = dict(bbox_head=dict(stacked_convs=3))\n")
    lab = coco.changed(
        {
            "detectors": {"own": {"config": str(own)}},
            "backbones": {"own": {"backbone": {}}},
        }
    )
    run = lab.run(detector="own", backbone="own")
    theirs = leaves(get_config(RETINANET).model.to_dict())
    ours = leaves(plain(lab, run).model.to_dict())
    changed = {path: value for path, value in ours.items() if theirs.get(path) != value}
    assert changed == {".bbox_head.stacked_convs": 3, "._scope_": "mmdet"}
    our_steps, their_steps = (
        [step | {"_scope_": "mmdet"} for step in found.train_dataloader.dataset.pipeline]
        for found in (lab.config(run), coco.config(coco.run()))
    )
    assert our_steps == their_steps


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", None),
        ("test_dataloader", {"dataset": None}),
        ("test_evaluator", None),
        ("train_dataloader", 3),
    ],
)
def test_an_incomplete_config_is_named(coco: Lab, tmp_path: Path, key: str, value: Any) -> None:
    config = get_config(RETINANET)
    config[key] = value
    config.dump(tmp_path / "own.py")
    lab = coco.changed({"detectors": {"retinanet": {"config": str(tmp_path / "own.py")}}})
    with pytest.raises(
        InputError, match=rf"own\.py: {key}\S* is missing; expected a complete config"
    ):
        plain(lab, lab.run())


LAZY = """
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import CocoDataset
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs, RandomFlip, Resize
from mmdet.evaluation import CocoMetric
from mmdet.models import FPN, DetDataPreprocessor, ResNet, RetinaHead, RetinaNet
from torch.nn import BatchNorm2d

"""


def in_pure_python(content: dict[str, Any]) -> str:
    """A config in mmengine's pure-Python style: its types are classes."""
    names = r"'(?:mmdet\.)?(LoadImageFromFile|CocoDataset|LoadAnnotations|PackDetInputs|RandomFlip"
    names += r"|Resize|CocoMetric|FPN|DetDataPreprocessor|ResNet|RetinaHead|RetinaNet)'"
    lines = [f"{key} = {value!r}" for key, value in content.items()]
    text = re.sub(f"'type': {names}", r"'type': \1", "\n".join(lines))
    return LAZY + text.replace("'type': 'BN'", "'type': BatchNorm2d") + "\n"


def test_a_config_in_pure_python_is_the_same(coco: Lab, tmp_path: Path) -> None:
    parts = get_config(RETINANET).to_dict()
    keys = ("model", "train_dataloader", "test_dataloader", "test_evaluator")
    (tmp_path / "lazy.py").write_text(in_pure_python({key: parts[key] for key in keys}))
    detectors = {"retinanet": {"config": str(tmp_path / "lazy.py")}}
    lab = coco.changed({"detectors": detectors, "backbones": {"own": {"backbone": {}}}})
    run, theirs = lab.run(backbone="own"), coco.run()
    config = plain(lab, run)
    config.dump(tmp_path / "model.py")  # as the run leaves it
    written = Config.fromfile(tmp_path / "model.py")
    torch.manual_seed(0)
    ours = snapshot(MODELS.build(written.model))
    torch.manual_seed(0)
    assert not differing(ours, snapshot(MODELS.build(plain(coco, theirs).model)))
    for found, expected in (
        (lab.config(run).train_dataloader, coco.config(theirs).train_dataloader),
        (config.test_dataloader, plain(coco, theirs).test_dataloader),
    ):
        steps = [s | {"type": s["type"].rpartition(".")[2]} for s in found.dataset.pipeline]
        assert steps == expected.dataset.pipeline
        assert found.dataset.get("filter_cfg") == expected.dataset.get("filter_cfg")
        transforms = [TRANSFORMS.get(step["type"]) for step in found.dataset.pipeline]
        assert transforms == [TRANSFORMS.get(step["type"]) for step in expected.dataset.pipeline]


@pytest.mark.parametrize(
    "text",
    [
        "model = undefined",
        "model = 1 / 0",
        "_base_ = 3\n",
    ],
)
def test_a_config_that_fails_is_named(coco: Lab, tmp_path: Path, text: str) -> None:
    (tmp_path / "own.py").write_text(text)
    lab = coco.changed({"detectors": {"retinanet": {"config": str(tmp_path / "own.py")}}})
    with pytest.raises(InputError, match=r"own\.py: .*; expected an mmdet config"):
        plain(lab, lab.run())


INNER = {"type": "CocoDataset", "filter_cfg": {"filter_empty_gt": False, "min_size": 5}}
WRAPPED: dict[str, tuple[dict[str, Any], str]] = {
    "repeated": ({"type": "RepeatDataset", "times": 8, "dataset": INNER}, "RepeatDataset times=8"),
    "several": (
        {"type": "ConcatDataset", "datasets": [INNER, {"type": "CocoDataset"}]},
        "ConcatDataset of 2 (the pipeline and filter_cfg of the first are taken)",
    ),
    "mixed": (
        {"type": "MultiImageMixDataset", "dataset": INNER, "pipeline": [{"type": "Mosaic"}]},
        "MultiImageMixDataset (its steps are taken, without any that mixes images)",
    ),
}


@pytest.mark.parametrize(("dataset", "said"), WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("own_pipeline", [False, True])
def test_what_a_config_wraps_is_used_and_the_rest_is_said(
    coco: Lab, tmp_path: Path, capsys: Any, dataset: dict, said: str, own_pipeline: bool
) -> None:
    config = get_config(RETINANET)
    dataset, steps = copy.deepcopy(dataset), copy.deepcopy(config.train_pipeline)
    steps.insert(2, {"type": "PhotoMetricDistortion"})
    inner = dataset.get("dataset") or dataset["datasets"][0]
    if own_pipeline:
        inner["pipeline"] = steps
    else:
        config.train_pipeline = steps
    config.train_dataloader.pop("dataset")
    config.train_dataloader.dataset = dataset
    config.custom_hooks = [{"type": "EMAHook"}]
    config.dump(tmp_path / "own.py")
    lab = coco.changed({"detectors": {"retinanet": {"config": str(tmp_path / "own.py")}}})
    images = lab.config(lab.run()).train_dataloader.dataset
    assert images.filter_cfg == INNER["filter_cfg"]
    assert images.pipeline[3]["type"] == "PhotoMetricDistortion"
    say_what_is_used(lab.run(), surveyed_side=32)
    printed = capsys.readouterr()
    assert "PhotoMetricDistortion" in printed.out
    assert f"own.py: ignored: {said}\n" in printed.err
    assert "own.py: ignored: custom_hooks EMAHook\n" in printed.err
    assert ("ignored: train_pipeline" in printed.err) == own_pipeline
    mixing = "own.py: ignored: Mosaic, because the track's images say how large\n"
    assert (mixing in printed.err) == said.startswith("MultiImage")
    assert "own.py: trains on images from 5 pixels; the priors count those from 32" in printed.err


@pytest.mark.parametrize("name", ["mini", "coco"])
def test_of_shipped_detectors_nothing_is_ignored(
    name: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture
) -> None:
    lab = request.getfixturevalue(name)
    with quick_configs():
        for detector in lab.track.content.detectors:
            say_what_is_used(lab.run(detector=detector), SMALLEST_SIDE)
    # The next test says what is ignored of these.
    others = ("rtmdet", "deformable_detr")
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if not line.startswith(others)] == []


HOOKS_OF_RTMDET = "ignored: custom_hooks EMAHook, PipelineSwitchHook"


@pytest.mark.parametrize(
    ("detector", "others", "steps"),
    [
        ("rtmdet-tiny", [HOOKS_OF_RTMDET], "CachedMosaic, RandomCrop, Pad, CachedMixUp"),
        ("deformable-detr", [], "RandomChoice"),
    ],
)
def test_what_is_ignored_of_others_is_said(
    detector: str, others: list[str], steps: str, coco: Lab, capsys: pytest.CaptureFixture
) -> None:
    with quick_configs():
        say_what_is_used(coco.run(detector=detector), SMALLEST_SIDE)
    assert [line.partition(": ")[2] for line in capsys.readouterr().err.splitlines()] == [
        *others,
        f"ignored: {steps}, because the track's images say how large",
    ]


def test_what_replaces_a_setting_of_mmdet_is_said(coco: Lab, capsys: pytest.CaptureFixture) -> None:
    with quick_configs():
        say_what_is_used(coco.run(detector="fcos", method="icd"), SMALLEST_SIDE)
    lines = capsys.readouterr().out.splitlines()
    for words in (
        "learning rate of biases: as weights; the config has 2 times that of weights,",
        "weight decay of biases: 0.0001; the config has 0,",
        "warm-up: linear, 1,000 iterations from a factor of 0.001; the config has linear, 500",
    ):
        assert [line for line in lines if f".py: {words}" in line and line.endswith("is not used")]
    assert not [line for line in lines if "initial weights" in line], "they are the same"


@pytest.mark.parametrize("number", [8, 80, 81, 300])
def test_every_class_has_a_colour_in_mmdets_tools(lab: Lab, tmp_path: Path, number: int) -> None:
    survey = lab.inputs.survey | {"classes": [f"class {i}" for i in range(number)]}
    (tmp_path / "survey.json").write_text(json.dumps(survey))
    lab = replace(lab, survey=tmp_path / "survey.json")
    found = DATASETS.build(plain(lab, lab.run()).test_dataloader.dataset | {"lazy_init": True})
    assert len(get_palette(found.metainfo["palette"], number)) >= number


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("icd", {"type", "priors", "seed", "heads", "warmup", "weight", "scale_offset"}),
        ("fitnet", {"type", "weight"}),
        ("cwd", {"type", "weight"}),
        ("pkd", {"type", "weight"}),
        ("mgd", {"type", "seed", "weight"}),
        ("crosskd", {"type", "position", "weight"}),
        ("bckd", {"type", "weight"}),
        ("fgd", {"type", "weight"}),
    ],
)
def test_a_method_gets_what_it_asks_for(lab: Lab, method: str, given: set[str]) -> None:
    config = lab.config(lab.run(method=method)).model.method
    assert config.keys() == given
    assert config.get("seed", 0) == 0


def test_an_unknown_method_is_named(lab: Lab) -> None:
    run = lab.run(method="icd")
    run = run.model_copy(update={"method": Method(name="magic")})
    with pytest.raises(InputError, match=r"methods: magic: is not a known method; expected one of"):
        lab.config(run)


def test_a_student_is_trained_on_its_split_from_its_pretraining(lab: Lab) -> None:
    """What it starts from is loaded before it inherits, which replaces parts of it."""
    pretrained = {"split": "train", "schedule": "2x"}
    changed = lab.changed({"roles": {"student": {"pretrained": pretrained}}})
    run = changed.run(inherit=True)
    assert run.pretrained is not None
    hooks = [hook["type"] for hook in changed.config(run).custom_hooks]
    assert hooks.index("PretrainedHook") < hooks.index("InheritHook")
    first, second = (changed.config(r).train_dataloader.dataset for r in (run.pretrained, run))
    assert (first.ann_file, second.ann_file) == ("train-16.json", "train-16.json")
    assert "PretrainedHook" not in str(changed.config(run.pretrained).custom_hooks)
