"""Every detector of the shipped tracks trains, distils and exports as a plain mmdet model."""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from mmdet.apis import inference_detector, init_detector
from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.runner import Runner
from torch import Tensor, nn

from icd.errors import InputError
from icd.experiments.run import TrainedRun
from icd.experiments.track import load_track
from icd.training import distiller
from icd.training.config import plain_config
from icd.training.distiller import Distiller
from icd.training.hooks.progress import ProgressHook
from icd.training.precision import use_bfloat16
from icd.training.sampler import PlacedSampler, SampleIndex
from tests.full import short
from tests.lab import DETECTORS, IMAGES, Lab, batch, differing, snapshot, suits, teacher_of, weights
from tests.lab_fixtures import of_classes

pytestmark = pytest.mark.slow

MINI, COCO = (load_track(name, {"coco": "coco"}).content for name in ("mini", "coco"))
MASKS = ("condinst", "mask-rcnn", "solov2")
METHOD_LOSSES = {"loss_identification", "loss_localisation", "loss_distillation"}
IMITATION = {
    *("loss_distillation", "loss_foreground", "loss_background", "loss_global"),  # of features
    *("loss_classes", "loss_boxes", "loss_main", "loss_valuable"),  # of predictions
}
BRIEF = {
    "data": {"splits": IMAGES},
    "images": {"scale": [64, 64], "flips": []},
    "recipe": {"unit": 5, "batch_size": 2, "ramp": 0},
    "methods": {"icd": {"options": {"warmup": 0}}},
    "backbones": {"resnet18-w8": {"backbone": {"frozen_stages": 1}}},
}
FROZEN = [f"backbone.{part}" for part in ("conv1", "bn1", "layer1")]
# What the pyramid's levels imply for the method: strides of P3-P7 and P2-P6.
HIGH, LOW = [8, 16, 32, 64, 128], [4, 8, 16, 32, 64]
PYRAMIDS = {
    "retinanet": (HIGH, 8.0, 300),
    "fcos": (HIGH, 8.0, 300),
    "atss": (HIGH, 8.0, 300),
    "gfl": (HIGH, 8.0, 300),
    "condinst": (HIGH, 8.0, 300),
    "faster-rcnn": (LOW, 3.0, 100),
    "mask-rcnn": (LOW, 3.0, 100),
    "solov2": (LOW, 8.0, 300),
    "deformable-detr": (HIGH[:4], 8.0, 300),
}
# It learns too slowly for a small scale, and takes its pyramid from the last three stages alone.
DETR, ITS_BACKBONES = "deformable-detr", ("resnet50", "resnet101")
# Of coco alone, with a backbone of their own.
RTMDET = {"rtmdet-tiny": ([8, 16, 32], 8.0, 300), "rtmdet-s": ([8, 16, 32], 8.0, 300)}


def fits(name: str, backbone: str) -> bool:
    """Whether a detector works with a backbone."""
    if needed := COCO.detectors[name].backbone:
        return backbone == needed
    if backbone.startswith("cspnext"):
        return False
    return name != DETR or backbone.startswith(ITS_BACKBONES)


OTHER_METHODS = [(name, method) for method in MINI.methods if method != "icd" for name in DETECTORS]
PAIRS = [
    (name, backbone)
    for name in COCO.detectors
    for backbone in COCO.backbones
    if fits(name, backbone)
]


@pytest.fixture
def brief(mini: Lab) -> Lab:
    """The mini track with so few, small images that a training takes a second."""
    return mini.from_scratch().changed(BRIEF)


def step(model: Any, data: dict[str, Any]) -> dict[str, float]:
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
    assert {*DETECTORS, DETR} == COCO.detectors.keys() - RTMDET.keys() == PYRAMIDS.keys()
    for name in DETECTORS:
        ours, theirs = (
            dict(entry.methods["icd"].options) if "icd" in entry.methods else {}
            for entry in (MINI.detectors[name], COCO.detectors[name])
        )
        theirs.pop("weight", None)  # on mini, one weight was chosen for all detectors
        assert ours == theirs


@dataclass
class Course:
    """What is seen of a training while it runs.

    before, after: state of the model.
    teachers: state of the hidden teacher before, and after each iteration.
    fixed: parameters that shall not be trained.
    losses: of each iteration.
    """

    before: dict[str, Tensor] = field(default_factory=dict)
    after: dict[str, Tensor] = field(default_factory=dict)
    teachers: list[dict[str, Tensor]] = field(default_factory=list)
    fixed: set[str] = field(default_factory=set)
    losses: list[dict[str, float]] = field(default_factory=list)

    def look(self, model: nn.Module) -> dict[str, Tensor]:
        """The state of a model now."""
        if isinstance(model, Distiller):
            self.teachers.append(snapshot(model.teacher.detector))
        return snapshot(model)


@pytest.fixture
def course(monkeypatch: pytest.MonkeyPatch) -> Course:
    """Follows the next training, which sees the same two images in each iteration."""
    course = Course()

    def start(hook: ProgressHook, runner: Runner) -> None:
        course.before = course.look(runner.model)
        course.fixed = {n for n, p in runner.model.named_parameters() if not p.requires_grad}

    def follow(
        hook: ProgressHook, runner: Runner, batch_idx: int, data_batch: Any, outputs: dict
    ) -> None:
        course.losses.append({k: v.item() for k, v in outputs.items() if "loss" in k})
        course.after = course.look(runner.model)

    def same_images(sampler: PlacedSampler) -> Iterator[SampleIndex]:
        return (SampleIndex(place % 2, place) for place in itertools.count())

    monkeypatch.setattr(ProgressHook, "before_train", start)
    monkeypatch.setattr(ProgressHook, "after_train_iter", follow)
    monkeypatch.setattr(PlacedSampler, "_infinite_indices", same_images)
    return course


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "plain in bfloat16": {},
    "icd": {"method": "icd"},
    "icd in bfloat16": {"method": "icd"},
    "icd + inheriting": {"method": "icd", "inherit": True},
}


@pytest.mark.parametrize(
    ("name", "variant"),
    short(
        itertools.product(DETECTORS, VARIANTS),
        lambda case: case[0] == "retinanet" or case[1] == "icd",
        "-".join,
    ),
)
def test_trains_and_leaves_as_mmdets(brief: Lab, course: Course, name: str, variant: str) -> None:
    """Losses fall, what shall learn moves and nothing else does, mmdet alone takes the outcome."""
    if "bfloat16" in variant:
        brief = brief.changed({"recipe": {"precision": "bfloat16"}})
    # GFL weights its box losses by its own scores, which start near zero: its losses rise first.
    first = 0
    if name == "gfl":
        brief, first = brief.changed({"recipe": {"unit": 15}}), 5
    run = brief.run(detector=name, **VARIANTS[variant])
    if run.teacher:
        brief.place_untrained(teacher_of(run))
    folder = brief.train(run)
    assert all(math.isfinite(value) for losses in course.losses for value in losses.values())
    totals = [losses["loss"] for losses in course.losses]
    assert totals[-1] < totals[first]
    check_what_moved(course)
    assert course.losses[0].keys() >= METHOD_LOSSES or not run.teacher
    assert "icd" not in (folder / "model.py").read_text()
    model = init_detector(str(folder / "model.py"), str(folder / "model.pth"), device="cpu")
    assert not differing(snapshot(model), weights(folder))
    found = inference_detector(model, str(next(brief.track.images("test").glob("*.png"))))
    assert ("masks" in found.pred_instances) == (name in MASKS)


def check_what_moved(course: Course) -> None:
    """All that is trained, and of the rest the counts of the batch norms that are not frozen."""
    moved, frozen = set(differing(course.before, course.after)), tuple(FROZEN)
    counts = {n for n in course.before if n.endswith(("running_mean", "running_var", "_tracked"))}
    trained = course.before.keys() - course.fixed - counts
    # The same for all keys, which softmax does not see: rounding alone moves it, or nothing does.
    # And GFL's constants, the places that its distributions are over.
    idle = ("position.bias", "integral.project")
    trained = {name for name in trained if not name.endswith(idle)}
    assert trained <= moved
    assert not moved & course.fixed
    assert {n for n in moved & counts if n.removeprefix("student.").startswith(frozen)} == set()
    assert {n for n in course.fixed if n.removeprefix("student.").startswith(frozen)}
    assert not any(differing(course.teachers[0], later) for later in course.teachers[1:])


@pytest.mark.parametrize("name", DETECTORS)
def test_is_evaluated_on_what_it_finds(brief: Lab, name: str) -> None:
    run = brief.run(detector=name)
    brief.place_untrained(run)
    metrics = brief.evaluate(run)["metrics"]
    kinds = {"segm"} if name == "solov2" else {"bbox", "segm"} if name in MASKS else {"bbox"}
    assert metrics.keys() == kinds
    files = {path.name for path in (brief.folder(run) / "test").glob("*.json")}
    assert files == {f"{kind}.json" for kind in kinds | {"bbox"}}, (
        "boxes: what the pipeline expects"
    )
    if "bbox" not in kinds:
        assert json.loads((brief.folder(run) / "test/bbox.json").read_text()) == []


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", DETECTORS)
def test_any_number_of_objects_is_finite(brief: Lab, name: str, precision: str) -> None:
    """None in an image, none in a batch, one, hundreds; the method's parameters always learn.

    (Without objects CondInst's mask head, for one, has no part in the losses of mmdet.)
    """
    run = brief.run(detector=name, method="icd")
    brief.place_untrained(teacher_of(run))
    torch.manual_seed(0)
    model = MODELS.build(brief.config(run).model)
    model.init_weights()
    if precision == "bfloat16":
        use_bfloat16(model)
    for objects in ([0, 1], [0, 0], [1, 1], [400, 2]):
        model.zero_grad()
        report = step(model, batch(objects, masks=True))
        assert all(math.isfinite(value) for value in report.values())
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert without_gradient(model.method) == []


@pytest.mark.parametrize(
    ("name", "method"),
    [(name, method) for name, method in OTHER_METHODS if suits(method, name)],
)
def test_every_other_method_trains_too(brief: Lab, name: str, method: str) -> None:
    """With and without objects, in both precisions: finite, and all of its parameters learn."""
    run = brief.run(detector=name, method=method)
    brief.place_untrained(teacher_of(run))
    torch.manual_seed(0)
    model = MODELS.build(brief.config(run).model)
    model.init_weights()
    for precision in ("float32", "bfloat16"):
        if precision == "bfloat16":
            use_bfloat16(model)
        for objects in ([2, 0], [0, 0]):
            model.zero_grad()
            report = step(model, batch(objects, masks=True))
            assert all(math.isfinite(value) for value in report.values())
            if any(objects) or method != "ld":  # it distils at objects alone
                assert max(report[key] for key in report.keys() & IMITATION) > 0
            gradients = [p.grad for p in model.parameters() if p.grad is not None]
            assert all(gradient.isfinite().all() for gradient in gradients)
            assert without_gradient(model.method) == []
            assert model.student.neck.fpn_convs[0].conv.weight.grad.any()


@pytest.mark.parametrize(
    ("name", "method"),
    [(name, method) for name, method in OTHER_METHODS if not suits(method, name)],
)
def test_what_does_not_suit_is_refused(brief: Lab, name: str, method: str) -> None:
    run = brief.run(detector=name, method=method)
    brief.place_untrained(teacher_of(run))
    with pytest.raises(InputError, match=r"model: .* (student|bins)"):
        MODELS.build(brief.config(run).model)


@pytest.mark.parametrize("name", COCO.detectors)
def test_the_method_fits_the_pyramid(coco: Lab, name: str) -> None:
    strides, weight, cap = (PYRAMIDS | RTMDET)[name]
    run = coco.run(detector=name, method="icd")
    dump_teacher(coco, run)
    method = coco.config(run).model.method
    assert method.get("weight", 8.0) == weight
    assert method.get("query_cap", 300) == cap
    levels = weightless(coco, run).extract_feat(torch.zeros(1, 3, 256, 256, device="meta"))
    assert [256 // level.shape[-1] for level in levels] == strides


@pytest.mark.parametrize(
    ("name", "backbone"),
    short(
        PAIRS,
        lambda pair: pair[0] == "retinanet" or pair[1] in ("resnet50", "cspnext-s"),
        "-".join,
    ),
)
def test_every_pair_of_detector_and_backbone_builds(coco: Lab, name: str, backbone: str) -> None:
    run = coco.run(detector=name, backbone=backbone)
    model = weightless(coco, run)
    levels = model.extract_feat(torch.zeros(1, 3, 64, 64, device="meta"))
    widths = {"rtmdet-tiny": [96] * 3, "rtmdet-s": [128] * 3}
    strides, *_ = (PYRAMIDS | RTMDET)[name]
    assert [level.shape[1] for level in levels] == widths.get(name, [256] * len(strides))
    assert model.backbone.init_cfg["type"] == "Pretrained"
    images = plain_config(run, coco.inputs).model.data_preprocessor
    # Normalised as when the weights were trained.
    blue_first = backbone in ("resnet50", "resnet101") or backbone.startswith("cspnext")
    mean = [103.53, 116.28, 123.675] if blue_first else [123.675, 116.28, 103.53]
    assert (images.mean, images.bgr_to_rgb) == (mean, not blue_first)


OTHERS: list[dict[str, Any]] = [
    {"detector": "retinanet", "backbone": "mobilenetv2"},
    {"detector": "faster-rcnn", "backbone": "efficientnet-b0"},
    {"detector": "rtmdet-tiny", "teacher": {"detector": "rtmdet-s"}, "adapter": True},
]


@pytest.mark.parametrize(
    "pair",
    short(
        [*({"detector": name} for name in PYRAMIDS), *OTHERS],
        lambda pair: pair["detector"] in ("retinanet", "mask-rcnn", "rtmdet-tiny"),
    ),
)
def test_one_step_at_full_width(
    coco: Lab, pair: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The track's teacher, random weights, one small image with masks, coco's precision.

    SOLOv2's grids do not shrink with the image, so they are made small, too.
    """
    monkeypatch.setattr(distiller, "load_weights", lambda *_: None)
    run = coco.run(method="icd", options={"warmup": 0}, **pair)
    dump_teacher(coco, run)
    torch.manual_seed(0)
    model = MODELS.build(coco.config(run).model)
    assert (run.recipe.precision, run.recipe.channels_last) == ("bfloat16", True)
    use_bfloat16(model.to(memory_format=torch.channels_last))
    if pair["detector"] == "solov2":
        model.student.mask_head.num_grids = [10, 8, 6, 4, 3]
    masks = "rtmdet" not in run.detector.name  # its assigner would take them for tensors
    data = demo_mm_inputs(1, [(3, 64, 96)], num_items=[3], num_classes=80, with_mask=masks)
    report = step(model, data)
    assert all(math.isfinite(value) for value in report.values())
    assert report["loss_distillation"] > 0
    assert without_gradient(model) == []


VOC = load_track("voc", {"voc": "voc"}).content


@pytest.mark.parametrize(
    ("track", "count", "name"),
    short(
        [("coco-quick", 80, "retinanet"), *(("voc", 20, name) for name in VOC.detectors)],
        lambda case: case[2] in ("retinanet", "faster-rcnn"),
        lambda case: "-".join(map(str, case)),
    ),
)
def test_teachers_and_students_of_other_scales_fit(
    lab: Lab, track: str, count: int, name: str
) -> None:
    """At the track's image size and number of classes; coco-10 has the models of coco."""
    lab = of_classes(lab, track, count)
    run = lab.run(detector=name, method="icd")
    dump_teacher(lab, run)
    assert lab.config(run).model.method.get("query_cap", 300) == (PYRAMIDS | RTMDET)[name][2]
    width, height = (-(-side // 32) * 32 for side in run.images.scale)  # as mmdet pads
    shapes = []
    for one in (run, teacher_of(run)):
        model = weightless(lab, one)
        levels = model.extract_feat(torch.zeros(1, 3, height, width, device="meta"))
        shapes.append([level.shape for level in levels])
        assert {head.num_classes for head in model.modules() if is_head(head)} == {count}
    assert shapes[0] == shapes[1]


def is_head(module: nn.Module) -> bool:
    """Whether a module predicts the track's classes; an RPN tells objects from background."""
    return hasattr(module, "num_classes") and not isinstance(module, RPNHead)


def test_a_step_with_the_classes_of_voc(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distiller, "load_weights", lambda *_: None)
    lab = of_classes(lab, "voc", 20)
    run = lab.run(backbone="resnet18", method="icd", inherit=True, options={"warmup": 0})
    dump_teacher(lab, run)
    torch.manual_seed(0)
    model = MODELS.build(lab.config(run).model)
    report = step(model, demo_mm_inputs(1, [(3, 96, 128)], num_items=[3], num_classes=20))
    assert all(math.isfinite(value) for value in report.values())
    assert report["loss_distillation"] > 0
    assert without_gradient(model) == []


def weightless(lab: Lab, run: TrainedRun) -> Any:
    """The detector of a run on the meta device: shapes without numbers."""
    config = plain_config(run, lab.inputs).model
    # EfficientNet computes with the values of a tensor as it is built.
    place = "cpu" if config.backbone.type == "EfficientNet" else "meta"
    with torch.device(place):
        return MODELS.build(config).to("meta")


def dump_teacher(lab: Lab, run: TrainedRun) -> None:
    """The config of a run's teacher where its training would leave it."""
    folder = lab.folder(teacher_of(run))
    folder.mkdir(parents=True)
    plain_config(teacher_of(run), lab.inputs).dump(folder / "model.py")
