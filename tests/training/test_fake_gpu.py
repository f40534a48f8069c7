"""The detectors of both tracks and the distiller on a fake GPU, with everything but their losses.

The losses of mmdet's detectors select anchors and cells by value, which fake tensors do not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.model import ImgDataPreprocessor
from mmengine.structures import InstanceData
from torch import Tensor

from icd.methods.adapter import Adapted
from icd.training.config import plain_config
from icd.training.dense_head import HeadTargets
from icd.training.distiller import Distiller
from icd.training.precision import use_bfloat16
from icd.training.teacher import Renormalise
from tests.fake_gpu import Device, fake_gpu, move, tensors
from tests.full import short
from tests.lab import DETECTORS, Lab, teacher_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("mmdet_on_the_cpu")]

SMALL: dict[str, Any] = {"backbone": "resnet18", "teacher": {"backbone": "resnet18"}}
METHODS = ("icd", "fitnet", "cwd", "pkd", "mgd", "fgd", "crosskd", "bckd")


def built(lab: Lab, monkeypatch: pytest.MonkeyPatch, **change: Any) -> Distiller:
    """The Distiller of a run, whose teacher has random weights."""
    run = lab.run(**change)
    folder = lab.folder(teacher_of(run))
    folder.mkdir(parents=True)
    plain_config(teacher_of(run), lab.inputs).dump(folder / "model.py")
    monkeypatch.setattr("icd.training.distiller.load_weights", lambda *_: None)
    return MODELS.build(lab.config(run).model)


def networks(detector: Any, images: Tensor) -> list[Tensor]:
    """The outputs of a detector's backbone, neck and the networks that see the whole pyramid."""
    levels = detector.extract_feat(images)
    heads = [getattr(detector, name, None) for name in ("rpn_head", "bbox_head", "mask_head")]
    # The masks of CondInst are computed for chosen cells.
    heads = [getattr(head, "mask_feature_head", head) for head in heads]
    return tensors([levels, [head(levels) for head in heads if head]])


def fake_samples(count: int, size: tuple[int, int]) -> list[DetDataSample]:
    """Images of different sizes with 0, 1, ... objects."""
    samples = []
    for objects in range(count):
        sample = DetDataSample(metainfo={"img_shape": (size[0] - 7 * objects, size[1])})
        with torch.device("cuda"):
            boxes, labels = torch.empty(objects, 4), torch.empty(objects, dtype=torch.long)
        sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
        samples.append(sample)
    return samples


def check(model: Distiller, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A step in float32, and in bfloat16: the student's networks, and what the distiller adds."""
    monkeypatch.setattr(model.student, "loss", loss_of_networks(model.student))
    with fake_gpu():
        move(model)
        images, samples = torch.empty(3, 3, *size, device="cuda"), fake_samples(3, size)
        if model.heads:
            give_targets(model.heads, size, monkeypatch)
        for bfloat16 in (False, True):
            if bfloat16:
                use_bfloat16(model)
            with Device() as recorded:
                losses = model(images, samples, mode="loss")
            assert losses.keys() > {"loss_network"}
            for loss in losses.values():
                assert (loss.device.type, loss.dtype, loss.shape) == ("cuda", torch.float32, ())
            assert not recorded.waits


def give_targets(heads: Any, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the student's head have targets for three images, although its loss is not computed."""
    head = heads.student
    sizes = head.sizes(torch.empty(3, 3, *size))
    priors = [x.cuda() for x in head.head.prior_generator.grid_priors(sizes, device="cpu")]
    with torch.device("cuda"):
        labels = [torch.empty(3, len(own), dtype=torch.long) for own in priors]
        weights = [torch.empty(3, len(own)) for own in priors]
        sides = [torch.empty(3, len(own), 4) for own in priors]
    targets = HeadTargets(priors, labels, weights, sides)

    @contextmanager
    def watch(keep: Callable[[HeadTargets], None]) -> Iterator[None]:
        keep(targets)
        yield

    monkeypatch.setattr(head, "watch_targets", watch)


def loss_of_networks(detector: Any) -> Any:
    """In place of a detector's loss, one that depends on its outputs."""

    def loss(images: Tensor, samples: list[DetDataSample]) -> dict[str, Tensor]:
        outputs = networks(detector, images)
        return {"loss_network": torch.stack([x.float().mean() for x in outputs]).sum()}

    return loss


@pytest.mark.parametrize(
    "detector", short(DETECTORS, lambda name: name in ("retinanet", "gfl", "mask-rcnn"))
)
def test_detectors_and_their_teachers_at_the_papers_size(
    detector: str, coco: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = built(coco, monkeypatch, detector=detector, method="icd", **SMALL)
    check(model, (800, 1344), monkeypatch)


@pytest.mark.parametrize("method", METHODS)
def test_methods_on_small_images(method: str, mini: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = mini.from_scratch()
    check(built(lab, monkeypatch, backbone="resnet18-w8", method=method), (128, 128), monkeypatch)


def test_distributions_on_small_images(mini: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = mini.from_scratch()
    change = {"backbone": "resnet18-w8", "detector": "gfl", "method": "ld"}
    check(built(lab, monkeypatch, **change), (128, 128), monkeypatch)


def test_other_statistics_of_the_teacher_and_a_narrow_student(
    coco: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images are normalised for the teacher, and features adapted to its width."""
    model = built(coco, monkeypatch, method="cwd", **SMALL)
    model.renormalise = Renormalise(*(preprocessor(rgb) for rgb in (True, False)))
    widths = [256] * len(model.levels.strides)
    model.method = Adapted(model.method, widths, widths, 256)
    check(model, (800, 1344), monkeypatch)


def preprocessor(rgb: bool) -> ImgDataPreprocessor:
    """Of images whose statistics differ by the order of their channels."""
    return ImgDataPreprocessor(mean=[1.0, 2, 3], std=[1.0, 2, 3], bgr_to_rgb=rgb)
