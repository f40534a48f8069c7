"""Runs with an invalid description or teacher checkpoint."""

from __future__ import annotations

import functools
import importlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from icd.experiments.track import load_track
from icd.files import sha256
from tests.experiments.broken import Break, Case, Project, after, halve, in_track

THEIRS = """
_base_ = "mmdet::retinanet/retinanet_r18_fpn_1x_coco.py"
width, classes = 8, 2
model = dict(
    backbone=dict(base_channels=width, init_cfg=None),
    neck=dict(in_channels=[width, 2 * width, 4 * width, 8 * width], out_channels=8),
    bbox_head=dict(num_classes=classes, in_channels=8, feat_channels=8, stacked_convs=1),
)
"""


def teacher_checkpoint(
    classes: int = 2, width: int = 8, names: tuple[str, ...] = ("cat", "dog")
) -> Break:
    """A run that takes a teacher from elsewhere, whose head is for these classes."""

    def edit(project: Project) -> None:
        import torch

        importlib.import_module("icd.training.train")  # whose imports are not silent
        teacher = {"config": "their.py", "checkpoint": "their.pth"}
        in_track("roles.teacher", teacher)(project)
        (project.folder / "their.py").write_text(THEIRS)
        content = {"meta": {"dataset_meta": {"classes": names}}}
        content["state_dict"] = teacher_weights(classes, width)
        torch.save(content, project.folder / "their.pth")

        def describe() -> None:
            run = load_track("track.yaml").describe({"role": "teacher"}, 0)
            (project.folder / "run").mkdir()
            (project.folder / "run/run.json").write_text(json.dumps(run.description))
            digits = sha256(project.folder / "my data/train.json")
            survey = {"classes": ["cat", "dog"], "splits": {"train": {"sha256": digits}}}
            (project.folder / "survey.json").write_text(json.dumps(survey))

        project.afterwards.append(describe)

    return edit


@functools.cache
def teacher_weights(classes: int, width: int) -> dict[str, Any]:
    """Random weights of a detector of :data:`THEIRS`, or of one of another width."""
    from mmdet.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    from icd import mmcv_ext

    mmcv_ext.install()
    init_default_scope("mmdet")
    text = THEIRS.replace("width, classes = 8, 2", f"width, classes = {width}, {classes}")
    return MODELS.build(Config.fromstring(text, ".py").model).state_dict()


class Code:
    """Pickled, it is an instruction to make a file that counts as a result."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch run/model.pth",)


def pickled(path: Path) -> None:
    """A checkpoint with code in it."""
    import torch

    torch.save({"state_dict": teacher_weights(2, 8), "hidden": Code()}, path)


def other(content: bytes) -> Callable[[Path], object]:
    """Another file in its place."""
    return lambda path: path.write_bytes(content)


RUN_CASES = [
    Case(
        "no folder",
        after(teacher_checkpoint(), "run", shutil.rmtree),
        ("run/run.json: does not exist", "the description of a run"),
    ),
    Case(
        "no description",
        after(teacher_checkpoint(), "run/run.json", Path.unlink),
        ("run/run.json: does not exist", "the description of a run"),
    ),
    Case(
        "half a description",
        after(teacher_checkpoint(), "run/run.json", halve),
        ("run/run.json: is not valid JSON", "the description of a run"),
    ),
    Case(
        "no survey",
        after(teacher_checkpoint(), "survey.json", Path.unlink),
        ("survey.json: does not exist", "run icd check"),
    ),
    Case(
        "half a survey",
        after(teacher_checkpoint(), "survey.json", halve),
        ("survey.json: is not valid JSON", "run icd check"),
    ),
    Case(
        "no checkpoint",
        after(teacher_checkpoint(), "their.pth", Path.unlink),
        ("their.pth: cannot be read (No such file", "a PyTorch checkpoint"),
    ),
    Case(
        "half a checkpoint",
        after(teacher_checkpoint(), "their.pth", halve),
        ("their.pth: is damaged or not a checkpoint", "a PyTorch checkpoint"),
    ),
    Case(
        "an empty checkpoint",
        after(teacher_checkpoint(), "their.pth", other(b"")),
        ("their.pth: is damaged or not a checkpoint", "a PyTorch checkpoint"),
    ),
    Case(
        "a web page as checkpoint",
        after(teacher_checkpoint(), "their.pth", other(b"<!DOCTYPE html><html></html>")),
        ("their.pth: is damaged or not a checkpoint", "a PyTorch checkpoint"),
    ),
    Case(
        "code in a checkpoint",
        after(teacher_checkpoint(), "their.pth", pickled),
        ("their.pth: holds posix.system, which is not plain data", "a PyTorch checkpoint"),
    ),
    Case(
        "a checkpoint for other classes",
        teacher_checkpoint(classes=3),
        ("their.pth: bbox_head.retina_cls.", "has shape (27", "the number of classes of this"),
    ),
    Case(
        "a checkpoint of the same classes in another order",
        teacher_checkpoint(names=("dog", "cat")),
        ("their.pth: meta.dataset_meta.classes: are the same classes in another order: ['dog',",),
    ),
    Case(
        "a checkpoint that names more classes",
        teacher_checkpoint(classes=3, names=("cat", "dog", "emu")),
        ("their.pth: meta.dataset_meta.classes: are 3 classes", "the 2 of the data"),
    ),
    Case(
        "a checkpoint of another width",
        teacher_checkpoint(width=16),
        ("their.pth: backbone.", "has shape (16", "as the config"),
    ),
    Case(
        "a config that is no Python",
        after(teacher_checkpoint(), "their.py", other(b"model = dict(")),
        ("their.py: is not valid Python", "expected an mmdet config"),
    ),
]
