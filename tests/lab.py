"""A track, a data set and runs that are small enough to train within a test."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.visualization import Visualizer
from torch import Tensor, nn

from icd.data.survey import write_survey
from icd.data.synthetic import SyntheticSpec, write_dataset
from icd.evaluation import evaluate
from icd.experiments.base import validate
from icd.experiments.run import ImportedRun, Run, TrainedRun, Training
from icd.experiments.track import Track, load_track
from icd.experiments.track_content import TrackContent
from icd.experiments.trackers import NO_TRACKING, Tracking
from icd.mappings import merge
from icd.training import base_config, config, export, train
from icd.training.config import RunInputs
from tests.experiments.track_files import laid_over


def _backbone(width: int) -> dict[str, dict]:
    """A ResNet-18 with so many channels in its first stage."""
    stages = [width, 2 * width, 4 * width, 8 * width]
    return {"backbone": {"base_channels": width}, "neck": {"in_channels": stages}}


# Those of both tracks; mini has a variant of RetinaNet, too.
DETECTORS = [
    name
    for name in load_track("mini").content.detectors
    if name in load_track("coco", {"coco": "coco"}).content.detectors
]
WIDTH = 16  # channels of the pyramids
IMAGES = {"train": 16, "test": 8}

NARROW = {"neck": {"out_channels": WIDTH}}
HEAD = {"in_channels": WIDTH, "feat_channels": WIDTH}
DENSE_HEAD = {**HEAD, "stacked_convs": 1, "norm_cfg": {"type": "GN", "num_groups": 4}}
SMALL = {
    "data": {"synthetic": {"seed": 1, "image_size": 64, "classes": 8}},
    "images": {"scale": [64, 64]},
    "detectors": {
        "retinanet": {
            "model": {
                **NARROW,
                "bbox_head": DENSE_HEAD,
                "test_cfg": {"score_thr": 0.001},  # a short training leaves low scores
            }
        },
        "fcos": {
            "config": "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py",
            "model": {**NARROW, "bbox_head": DENSE_HEAD},
        },
        "faster-rcnn": {
            "config": "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
            "model": {
                **NARROW,
                "rpn_head": HEAD,
                "roi_head": {
                    "bbox_roi_extractor": {"out_channels": WIDTH},
                    "bbox_head": {"in_channels": WIDTH, "fc_out_channels": 32},
                },
            },
        },
    },
    "backbones": {
        "resnet18-w16": _backbone(8),
        "resnet18-w8": _backbone(4),
    },
    "recipe": {"unit": 6, "batch_size": 2, "ramp": 3},
    "roles": {"teacher": {"schedule": "5x", "seed": 0}},
    "methods": {"icd": {"options": {"heads": 4, "warmup": 2}}},
    "machine": {"gpus": 0},
}


@dataclass(frozen=True)
class Lab:
    """A small track with its data, and a folder in which its runs are trained.

    project: the folder that the folders of runs are relative to.
    survey: file with the classes, counts and priors of the data.
    """

    track: Track
    survey: Path
    project: Path

    @property
    def data(self) -> Path:
        """Root of the data set."""
        return self.track.data_root

    @property
    def inputs(self) -> RunInputs:
        return RunInputs(self.data, json.loads(self.survey.read_text()))

    def changed(self, change: dict[str, Any]) -> Lab:
        """The same with other values in the track."""
        return replace(self, track=laid_over(self.track, change))

    def stating(self, content: dict[str, Any]) -> Lab:
        """The same with a track of this content."""
        valid = validate(TrackContent, content, self.track.file)
        return replace(self, track=replace(self.track, content=valid))

    def from_scratch(self) -> Lab:
        """The same with students that start from no other training."""
        content = self.track.content.stated()
        content["roles"]["student"].pop("pretrained")
        return self.stating(content)

    def at(self, project: Path) -> Lab:
        """The same in another folder."""
        return replace(self, project=project)

    def run(self, seed: int = 0, **change: Any) -> TrainedRun:
        """A run as a row of an ablation describes it; the student if nothing is said."""
        run = self.track.describe(change, seed)
        assert isinstance(run, TrainedRun)
        return run

    def imported_teacher(self) -> ImportedRun:
        """The track's teacher, which is from elsewhere."""
        run = self.track.describe({"role": "teacher"}, 0)
        assert isinstance(run, ImportedRun)
        return run

    def folder(self, run: Run) -> Path:
        return self.project / run.folder

    def config(self, run: Training, workers: int = 0) -> Config:
        """The complete config of a run, whose teacher must be in place."""
        with contextlib.chdir(self.project), quick_configs():
            return config.training_config(run, self.inputs, workers, checkpoint_every=1000)

    def place_untrained(self, run: TrainedRun | ImportedRun) -> None:
        """Put a detector with random weights where the trained one of ``run`` would be."""
        with contextlib.chdir(self.project), quick_configs():
            torch.manual_seed(7)
            init_default_scope("mmdet")  # as a training does, if one was carried out before
            detector = MODELS.build(config.plain_config(run, self.inputs).model)
            export.export(run, self.inputs, detector, run.folder)
        self.write_description(run)

    def write_description(self, run: Run) -> None:
        """Leave the run's description where the pipeline does."""
        self.folder(run).mkdir(parents=True, exist_ok=True)
        (self.folder(run) / "run.json").write_text(json.dumps(run.description))

    def place(self, run: Run, other: Lab) -> None:
        """Copy the detector of a run from another project."""
        self.folder(run).mkdir(parents=True)
        for name in ("model.py", "model.pth"):
            shutil.copy(other.folder(run) / name, self.folder(run) / name)

    def train(
        self,
        run: Run,
        workers: int = 0,
        checkpoint_every: int = 1000,
        snapshots: int = 0,
        deterministic: bool = False,
        tracking: Tracking = NO_TRACKING,
    ) -> Path:
        """Carry out a run as the pipeline does; its folder."""
        folder = self.folder(run)
        self.write_description(run)
        with self.runner():
            options = train.Options(
                workers,
                checkpoint_every,
                snapshots,
                deterministic=deterministic,
                tracking=tracking,
            )
            train.train(run.folder, self.data, self.survey, folder / "manifest.json", options)
        return folder

    def evaluate(self, run: Run, split: str = "test", workers: int = 0) -> dict[str, Any]:
        """Evaluate a run as the pipeline does; the content of the file of its metrics."""
        output = self.folder(run) / "metrics.json"
        with self.runner():
            evaluate.evaluate(run.folder, split, output, workers=workers)
        return json.loads(output.read_text())

    @contextlib.contextmanager
    def runner(self) -> Iterator[None]:
        """The place and the clean slate that a process of the pipeline has."""
        # mmengine names its global objects by the second: two runs within one would share them.
        for kind in (MMLogger, MessageHub, Visualizer, DefaultScope):
            kind._instance_dict.clear()
        with contextlib.chdir(self.project), quick_configs():
            yield


def make(root: Path) -> Lab:
    """A lab in an empty folder, with its data."""
    track = load_track("mini", data_root=root / "data")
    content = merge(track.content.stated(), SMALL)
    content["data"]["splits"] = IMAGES
    lab = Lab(track, root / "survey.json", root / "project").stating(content).from_scratch()
    write_dataset(track.data_root, SyntheticSpec.of(content["data"]["synthetic"]), IMAGES)
    write_survey(lab.track.split_files, lab.survey)
    lab.project.mkdir()
    return lab


@contextlib.contextmanager
def quick_configs() -> Iterator[None]:
    """Spare mmengine from formatting each config it writes and from searching each it reads."""
    with (
        mock.patch("yapf.yapflib.yapf_api.FormatCode", lambda text, **options: (text, True)),
        mock.patch.object(base_config, "get_config", lambda name: copy.deepcopy(shipped(name))),
    ):
        yield


shipped = functools.cache(base_config.get_config)


def suits(method: str, detector: str) -> bool:
    """Whether a detector of mini or coco has the heads that a method of the package asks for."""
    dense = ("retinanet", "fcos", "atss", "gfl")
    asks = {"crosskd": dense, "bckd": dense, "ld": ("gfl",), "kddetr": ("deformable-detr",)}
    return detector in asks.get(method, (detector,))


def teacher_of(run: TrainedRun) -> TrainedRun:
    """The teacher of a run that has one, trained here."""
    assert isinstance(run.teacher, TrainedRun)
    return run.teacher


def weights(folder: Path) -> dict[str, Tensor]:
    """What a run's folder holds as the outcome of training."""
    return torch.load(folder / "model.pth", weights_only=True)["state_dict"]


def differing(first: dict[str, Tensor], second: dict[str, Tensor]) -> list[str]:
    """Names under which two state_dicts do not hold the same bits."""
    assert first.keys() == second.keys()
    return [name for name in first if not torch.equal(first[name], second[name])]


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of a model's state_dict."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def batch(
    objects: list[int], sizes: list[tuple[int, int]] | None = None, masks: bool = False
) -> dict[str, Any]:
    """A batch as the data loader gives it: noise with so many objects in each image.

    Args:
        objects: number of annotated boxes of each image.
        sizes: (height, width) of each image.
        masks: whether the objects have masks, too.
    """
    sizes = sizes or [(64, 64), (48, 56), (56, 40)][: len(objects)]
    shapes = [(3, *size) for size in sizes]
    options = {"num_items": objects, "num_classes": 8, "with_mask": masks}
    return demo_mm_inputs(len(objects), shapes, **options)
