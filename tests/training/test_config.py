"""Configs contain what the track states; all else is mmdet's."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmdet.registry import MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.optim import build_optim_wrapper

from icd.errors import InputError
from icd.experiments.ablation import ablation_names, load_ablation
from icd.experiments.options import Method
from icd.experiments.run import ImportedRun, TrainedRun
from icd.training.config import plain_config
from icd.training.pipeline import pipeline
from tests.experiments.track_files import changed
from tests.lab import Lab, snapshot, teacher_of

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


def test_a_model_is_mmdets_but_for_what_the_track_changes(coco: Lab) -> None:
    theirs = leaves(get_config(RETINANET).model.to_dict())
    student, teacher = (
        leaves(plain(coco, coco.run(role=role)).model.to_dict()) for role in ("student", "teacher")
    )
    assert student == theirs  # ResNet-50 from ImageNet, first stage frozen, 80 classes
    changed = {path: value for path, value in teacher.items() if theirs.get(path) != value}
    assert changed == {
        ".backbone.depth": 101,
        ".backbone.init_cfg.checkpoint": "torchvision://resnet101",
    }
    assert teacher.keys() == theirs.keys()


def test_the_minis_changes_arrive(mini: Lab) -> None:
    model = plain(mini, mini.run()).model
    base = get_config(RETINANET).model
    assert model.backbone.base_channels == 8
    assert model.neck.in_channels == [8, 16, 32, 64]
    assert model.neck.out_channels == model.bbox_head.in_channels == 64
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
    size = {"type": "Resize", "scale": (128, 128), "keep_ratio": True}
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
    assert sizes == [{"type": "Resize", "scale": (128, 128), "keep_ratio": True}]


def test_a_config_that_resizes_nothing_is_refused(mini: Lab) -> None:
    with pytest.raises(InputError, match="model: train_pipeline: has no step that resizes"):
        pipeline([{"type": "LoadImageFromFile"}], mini.track.content.images, True)


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
            "detectors": {"retinanet": {"config": str(own)}},
            "backbones": {"own": {"backbone": {}}},
        }
    )
    run = lab.run(backbone="own")
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
        ("train_pipeline", None),
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


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("icd", {"type", "priors", "seed", "heads", "warmup", "scale_offset"}),
        ("fitnet", {"type"}),  # mini's weight is the default
        ("cwd", {"type", "weight"}),
        ("pkd", {"type", "weight"}),
        ("mgd", {"type", "seed", "weight"}),
        ("fgd", {"type", "weight", "foreground", "background", "attention", "context"}),
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
