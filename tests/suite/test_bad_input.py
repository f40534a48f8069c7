"""Bad input ends with one clear line: the file, the key, and what would be right."""

from __future__ import annotations

import copy
import errno
import functools
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from PIL import ExifTags, Image
from track_files import OWN, changed, write

from icd import __main__ as cli
from icd.suite import ablation as ablations
from icd.suite.schema import ROOT
from icd.suite.track import load_track

COCO = {
    "images": [
        {"id": 4, "file_name": "four.png", "width": 100, "height": 50},
        {"id": 7, "file_name": "seven.png", "width": 40, "height": 40},
    ],
    "annotations": [
        {"id": i, "image_id": 4, "category_id": c, "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0}
        for i, c in ((1, 1), (2, 2))
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
}
ABLATION = {
    "title": "Title",
    "question": "Question?",
    "baseline": "student",
    "rows": [
        {"id": "student", "label": "Student"},
        {"id": "icd", "label": "ICD", "change": {"method": "icd"}},
    ],
}


@dataclass
class Project:
    """A valid track on a user's data, and an ablation, before they are written."""

    folder: Path
    track: dict[str, Any] = field(default_factory=lambda: deepcopy(OWN))
    coco: dict[str, Any] = field(
        default_factory=lambda: {name: copy.deepcopy(COCO) for name in ("train", "test")}
    )
    ablation: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(ABLATION))

    def write(self) -> None:
        """Write all files; a text stands for a whole file's content."""
        for name, content in self.coco.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (self.folder / "my data" / f"{name} images").mkdir(parents=True)
            (self.folder / "my data" / f"{name}.json").write_text(text)
            for image in COCO["images"]:
                picture = Image.new("RGB", (image["width"], image["height"]))
                picture.save(self.folder / "my data" / f"{name} images" / image["file_name"])
        write(self.folder / "ablations" / "table.yaml", self.ablation)
        if isinstance(self.track, str):
            (self.folder / "track.yaml").write_text(self.track)
        else:
            write(self.folder / "track.yaml", self.track)


Break = Callable[[Project], None]


class Case(NamedTuple):
    """How the input is broken, and what the message has to say."""

    name: str
    edit: Break
    words: tuple[str, ...]


def in_track(key: str, value: Any) -> Break:
    """Another value in the track file; None removes the key."""

    def edit(project: Project) -> None:
        project.track = changed(project.track, key, value)

    return edit


def in_track_text(old: str, new: str) -> Break:
    """Another text in the track file."""

    def edit(project: Project) -> None:
        text = yaml.safe_dump(project.track)
        assert old in text
        project.track = text.replace(old, new)

    return edit


def in_coco(key: str, value: Any, split: str = "train") -> Break:
    """Another value in an annotation file; None removes the key."""

    def edit(project: Project) -> None:
        project.coco[split] = changed(project.coco[split], key, value)

    return edit


def coco_text(text: str, split: str = "train") -> Break:
    """Another content of an annotation file."""

    def edit(project: Project) -> None:
        project.coco[split] = text

    return edit


def in_ablation(key: str, value: Any) -> Break:
    """Another value in the ablation file; None removes the key."""

    def edit(project: Project) -> None:
        project.ablation = changed(project.ablation, key, value)

    return edit


def spoil(path: str, how: Callable[[Path], object]) -> Break:
    """A file or folder to which something happens after all are written."""

    def edit(project: Project) -> None:
        written = Project.write

        def write_and_spoil() -> None:
            written(project)
            how(project.folder / path)

        project.write = write_and_spoil

    return edit


def remove(path: str) -> Break:
    """A file or folder that is not there."""
    return spoil(path, lambda target: shutil.rmtree(target) if target.is_dir() else target.unlink())


def image(how: Callable[[Path], object]) -> Break:
    """Another file in place of the first training image, 100 x 50 pixels."""
    return spoil("my data/train images/four.png", how)


def exif(path: Path) -> None:
    """An image whose orientation says that it lies on its side."""
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (100, 50)).save(path, exif=tags)


TRACK_CASES = [
    Case("unknown key", in_track("colour", 1), ("track.yaml: colour: unknown key", "'backbones'")),
    Case(
        "unknown nested key",
        in_track("recipe.colour", 1),
        ("track.yaml: recipe.colour: unknown key", "'batch_size'"),
    ),
    Case(
        "unknown key in data",
        in_track("data.colour", 1),
        ("track.yaml: data.colour: unknown key", "['root', 'splits']"),
    ),
    Case(
        "unknown key in a split",
        in_track("data.splits.test.annotation", "x"),
        ("data.splits.test.annotation: unknown key", "['annotations', 'images']"),
    ),
    Case(
        "unknown key in a role's recipe",
        in_track("roles.student.recipe", {"batch": 3}),
        ("track.yaml: roles.student.recipe.batch: unknown key", "'batch_size'"),
    ),
    Case(
        "unknown key in a teacher from elsewhere",
        in_track("roles.teacher", {"config": "a", "checkpont": "b"}),
        ("track.yaml: roles.teacher.checkpont: unknown key", "'checkpoint'"),
    ),
    Case(
        "unknown key in a teacher of the zoo",
        in_track("roles.teacher", {"zoo": "a", "backbone": "b"}),
        ("track.yaml: roles.teacher.backbone: unknown key", "['sha256', 'zoo']"),
    ),
    Case(
        "a teacher that the zoo does not have",
        in_track("roles.teacher", {"zoo": "retinanet_r101_fpn_2x"}),
        (
            "track.yaml: roles.teacher.zoo: ",
            "retinanet_r101_fpn_2x is unknown to the installed mmdet",
            "'retinanet_r101_fpn_2x_coco'",
        ),
    ),
    Case(
        "a hash that is too short",
        in_track("roles.teacher", {"zoo": "a", "sha256": "7ee888e0"}),
        ("track.yaml: roles.teacher.sha256: is '7ee888e0'", "64 digits"),
    ),
    Case(
        "unknown option of the method",
        in_track("methods.icd.options.head", 8),
        ("track.yaml: methods.icd.options.head: unknown key", "'heads'"),
    ),
    Case(
        "unknown place to imitate at",
        in_track("methods.icd.options.where", "nowhere"),
        ("track.yaml: methods.icd.options.where: is 'nowhere'", "instance, everywhere, foreground"),
    ),
    Case(
        "fakes where nothing is asked",
        in_track("methods.icd.options", {"where": "foreground", "fakes": True}),
        ("track.yaml: methods.icd.options.where: is 'foreground'", "since fakes is true"),
    ),
    Case(
        "unknown method",
        in_track("methods.magic", {}),
        ("track.yaml: methods.magic: is no known method", "'icd'", "class: module.Class"),
    ),
    Case(
        "unknown method of a detector",
        in_track("detectors.retinanet.methods", {"magic": {"options": {}}}),
        ("track.yaml: detectors.retinanet.methods.magic: is no known method", "'icd'"),
    ),
    Case(
        "unknown option of a method of a detector",
        in_track("detectors.retinanet.methods", {"mgd": {"options": {"mask": 1}}}),
        ("detectors.retinanet.methods.mgd.options.mask: unknown key", "['masked', 'weight']"),
    ),
    Case(
        "no optimiser for a method that needs one",
        in_track("methods.mgd", {"options": {}}),
        ("track.yaml: methods.mgd.optimizer: is missing", "type, lr"),
    ),
    Case(
        "a method of the package with a class",
        in_track("methods.pkd", {"class": "my.PKD"}),
        ("track.yaml: methods.pkd: is a method of the package", "another name"),
    ),
    Case(
        "a method whose module is not there",
        in_track("methods.mine", {"class": "no_such_module.Mine"}),
        ("track.yaml: methods.mine.class: there is no module 'no_such_module'", "module.Class"),
    ),
    Case(
        "a method without a module",
        in_track("methods.mine", {"class": "Mine"}),
        ("track.yaml: methods.mine.class: is 'Mine'", "module.Class"),
    ),
    Case(
        "text for a number",
        in_track("recipe.unit", "600"),
        ("track.yaml: recipe.unit: is '600'", "a whole number from 1"),
    ),
    Case(
        "batch that does not divide",
        in_track("machine.gpus", 3),
        ("track.yaml: recipe.batch_size: 8 images cannot", "a multiple of machine.gpus"),
    ),
    Case(
        "fraction for a whole number",
        in_track("recipe.batch_size", 7.5),
        ("track.yaml: recipe.batch_size: is 7.5", "a whole number from 1"),
    ),
    Case(
        "a precision that is not offered",
        in_track("recipe.precision", "float16"),
        ("track.yaml: recipe.precision: is 'float16'", "float32 (the default) or bfloat16"),
    ),
    Case(
        "1e-3, which is text to YAML",
        in_track("recipe.ramp", "1e-3"),
        ("track.yaml: recipe.ramp: is '1e-3'", "YAML reads 1e-3 as text", "1.0e-3"),
    ),
    Case(
        "1e-4 for an argument of the optimiser",
        in_track("recipe.optimizer.weight_decay", "1e-4"),
        ("track.yaml: recipe.optimizer.weight_decay: is '1e-4'", "YAML reads 1e-4 as text"),
    ),
    Case(
        "a key given twice",
        in_track_text("decay: cosine", "decay: cosine\n  decay: [0.5]"),
        ("track.yaml: is no YAML (the key 'decay' stands twice", "line", "a track file"),
    ),
    Case(
        "no, which is false to YAML",
        in_track_text("name: mini", "no: mini"),
        ("track.yaml: has the key False", "YAML reads yes, no, on and off"),
    ),
    Case(
        "infinity",
        in_track("recipe.optimizer.lr", float("inf")),
        ("track.yaml: recipe.optimizer.lr: is inf", "a number"),
    ),
    Case(
        "a date",
        in_track_text("depth: 18", "depth: 2021-12-06"),
        ("backbone.depth: is datetime.date(2021, 12, 6)", "a number"),
    ),
    Case(
        "a list for a mapping",
        in_track("data", []),
        ("track.yaml: data: is []", "synthetic", "root and splits"),
    ),
    Case(
        "missing key",
        in_track("roles.student.backbone", None),
        ("track.yaml: roles.student.backbone: is missing", "the track's backbones"),
    ),
    Case(
        "no test split",
        in_track("data.splits.test", None),
        ("track.yaml: data.splits.test: is missing",),
    ),
    Case(
        "a backbone whose name is a path",
        in_track("backbones.a/b", {"backbone": {}}),
        ("track.yaml: backbones: is 'a/b'", "letters, digits, - and _"),
    ),
    Case(
        "unknown backbone in a role",
        in_track("roles.student.backbone", "resnet1"),
        ("track.yaml: backbones: has no 'resnet1'", "one of ["),
    ),
    Case(
        "not YAML",
        in_track_text("recipe:", "recipe: ["),
        ("track.yaml: is no YAML", "line", "expected a track file"),
    ),
    Case(
        "an empty file",
        lambda project: setattr(project, "track", ""),
        ("track.yaml: is None", "expected a track"),
    ),
    Case("missing track", remove("track.yaml"), ("track.yaml: no such track", "'mini'")),
    Case(
        "missing teacher config",
        in_track("roles.teacher", {"config": "their.py", "checkpoint": "track.yaml"}),
        ("track.yaml: roles.teacher.config: their.py does not exist", "an mmdet config"),
    ),
    Case(
        "missing teacher checkpoint",
        in_track("roles.teacher", {"config": "track.yaml", "checkpoint": "their.pth"}),
        ("track.yaml: roles.teacher.checkpoint: their.pth does not exist", "a file of weights"),
    ),
]
DATA_CASES = [
    Case(
        "missing root",
        remove("my data"),
        ("track.yaml: data.root: my data does not exist", "the folder of the data set"),
    ),
    Case(
        "missing annotation file",
        remove("my data/test.json"),
        ("track.yaml: data.splits.test.annotations: my data/test.json does not", "a COCO JSON"),
    ),
    Case(
        "missing image folder",
        remove("my data/train images"),
        ("track.yaml: data.splits.train.images: my data/train images does not", "a folder of"),
    ),
    Case(
        "missing image file",
        remove("my data/test images/seven.png"),
        ("test.json: images[1].file_name: seven.png is not in my data/test images", "an image"),
    ),
    Case(
        "no JSON",
        coco_text("images:\n- 1\n"),
        ("train.json: is no JSON", "a COCO JSON file with images, annotations and categories"),
    ),
    Case(
        "a byte order mark",
        coco_text("\ufeff" + json.dumps(COCO), "test"),
        ("test.json: is no JSON (Unexpected UTF-8 BOM", "in UTF-8 without a byte order mark"),
    ),
    Case(
        "truncated JSON",
        coco_text(json.dumps(COCO)[:-20], "test"),
        ("test.json: is no JSON", "line 1", "a COCO JSON file"),
    ),
    Case(
        "a JSON list",
        coco_text(json.dumps([COCO])),
        ("train.json: images: is missing or no list", "a COCO JSON file"),
    ),
    Case(
        "no categories",
        in_coco("categories", None),
        ("train.json: categories: is missing or no list", "a COCO JSON file"),
    ),
    Case(
        "categories by name",
        in_coco("categories", {"cat": 1}),
        ("train.json: categories: is missing or no list", "a COCO JSON file"),
    ),
    Case(
        "an image that is no mapping",
        in_coco("images.1", "seven.png"),
        ("train.json: images[1].id: is missing", "a whole number"),
    ),
    Case(
        "an image without a size",
        in_coco("images.0.height", None),
        ("train.json: images[0].height: is missing", "a positive number of pixels"),
    ),
    Case(
        "an image of no size",
        in_coco("images.0.width", 0),
        ("train.json: images[0].width: is 0", "a positive number of pixels"),
    ),
    Case(
        "an image whose size is text",
        in_coco("images.0.width", "100"),
        ("train.json: images[0].width: is '100'", "a positive number of pixels"),
    ),
    Case(
        "two images with one id",
        in_coco("images.1.id", 4),
        ("train.json: images[1].id: is 4 a second time", "a value of its own"),
    ),
    Case(
        "two annotations with one id",
        in_coco("annotations.1.id", 1),
        ("train.json: annotations[1].id: is 1 a second time", "a value of its own"),
    ),
    Case(
        "two categories with one name",
        in_coco("categories.1.name", "cat"),
        ("train.json: categories[1].name: is 'cat' a second time", "a value of its own"),
    ),
    Case(
        "an annotation with id 0",
        in_coco("annotations.0.id", 0, "test"),
        ("test.json: annotations[0].id: is 0", "a whole number from 1"),
    ),
    Case(
        "unknown category",
        in_coco("annotations.1.category_id", 3),
        ("train.json: annotations[1].category_id: 3 is unknown", "a listed id"),
    ),
    Case(
        "unknown image",
        in_coco("annotations.0.image_id", 5, "test"),
        ("test.json: annotations[0].image_id: 5 is unknown", "a listed id"),
    ),
    Case(
        "an id that is a list",
        in_coco("annotations.0.image_id", [4]),
        ("train.json: annotations[0].image_id: is [4]", "a whole number"),
    ),
    Case(
        "NaN in a box",
        in_coco("annotations.0.bbox.2", float("nan")),
        ("train.json: annotations[0].bbox: is [0, 0, nan, 9]", "[x, y, width, height]"),
    ),
    Case(
        "infinity in a box",
        in_coco("annotations.0.bbox.0", float("inf")),
        ("train.json: annotations[0].bbox: is [inf, 0, 9, 9]", "four numbers"),
    ),
    Case(
        "a box of three numbers",
        in_coco("annotations.1.bbox", [1, 2, 3]),
        ("train.json: annotations[1].bbox: is [1, 2, 3]", "four numbers"),
    ),
    Case(
        "a box of booleans",
        in_coco("annotations.1.bbox", [True, False, True, True]),
        ("train.json: annotations[1].bbox: is [True, False, True, True]", "four numbers"),
    ),
    Case(
        "a box of text",
        in_coco("annotations.1.bbox.3", "9"),
        ("train.json: annotations[1].bbox: is [0, 0, 9, '9']", "four numbers"),
    ),
    Case(
        "an area of text",
        in_coco("annotations.0.area", "81"),
        ("train.json: annotations[0].area: is '81'", "a number of square pixels"),
    ),
    Case(
        "a crowd of two",
        in_coco("annotations.0.iscrowd", 2),
        ("train.json: annotations[0].iscrowd: is 2", "0 or 1"),
    ),
    Case(
        "one polygon in place of a list of them",
        in_coco("annotations.0.segmentation", [0, 0, 9, 0, 9, 9]),
        ("train.json: annotations[0].segmentation: is [0, 0, 9", "[[x, y, x, y, ...], ...]"),
    ),
    Case(
        "a run-length code without its size",
        in_coco("annotations.0.segmentation", {"counts": [1, 2]}),
        ("train.json: annotations[0].segmentation: is {'counts'", "{size, counts}"),
    ),
    Case(
        "a run-length code of width and height",
        in_coco("annotations.0.segmentation", {"size": [100, 50], "counts": [5000]}),
        ("annotations[0].segmentation.size: is [100, 50]", "[50, 100], height and width"),
    ),
    Case(
        "an empty image file",
        image(lambda path: path.write_bytes(b"")),
        ("train.json: images[0].file_name: four.png cannot be read", "an image file"),
    ),
    Case(
        "a text as image file",
        image(lambda path: path.write_text("<html>not found</html>")),
        ("four.png cannot be read (no known image format)", "an image file"),
    ),
    Case(
        "a truncated image",
        image(lambda path: path.write_bytes(path.read_bytes()[:-40])),
        ("images[0].file_name: four.png cannot be decoded (", "a complete image"),
    ),
    Case(
        "an image of floating-point numbers",
        image(lambda path: Image.new("F", (100, 50)).save(path, "TIFF")),
        ("four.png cannot be decoded (OpenCV does not read", "an image of 8 or 16 bits"),
    ),
    Case(
        "an image of another size",
        image(lambda path: Image.new("RGB", (50, 25)).save(path)),
        ("four.png is 50 x 25 pixels", "100 x 50, as this entry's width and height say"),
    ),
    Case(
        "an image that is turned when it is read",
        image(exif),
        ("four.png is 50 x 100 pixels when turned upright (EXIF orientation 6)", "100 x 50"),
    ),
    Case(
        "12 bits in an image of 16",
        image(lambda path: Image.new("I;16", (100, 50), 4095).save(path)),
        ("four.png has 16 bits", "no more than 15 of 255", "values up to 65535"),
    ),
    Case(
        "no objects",
        in_coco("annotations", []),
        ("train.json: annotations: hold no object", "at least one"),
    ),
    Case(
        "nothing but crowds and empty boxes in the test split",
        lambda project: [
            in_coco("annotations.0.iscrowd", 1, "test")(project),
            in_coco("annotations.1.bbox", [3, 3, 0, -1], "test")(project),
        ],
        ("test.json: annotations: hold no object", "at least one"),
    ),
    Case(
        "other classes in the test split",
        in_coco("categories.1.name", "cow", "test"),
        ("test.json: categories: differ from those of", "train.json", "['cat', 'dog']"),
    ),
    Case(
        "classes in another order in the test split",
        in_coco("categories", COCO["categories"][::-1], "test"),
        ("test.json: categories: differ from those of", "train.json", "['cat', 'dog']"),
    ),
]
ABLATION_CASES = [
    Case(
        "unknown key",
        in_ablation("colour", 1),
        ("table.yaml: colour: unknown key", "'baseline'"),
    ),
    Case(
        "unknown key in a row's change",
        in_ablation("rows.1.change", {"methods": "icd"}),
        ("table.yaml: rows.1.change.methods: unknown key", "'method'"),
    ),
    Case(
        "missing label",
        in_ablation("rows.0.label", None),
        ("table.yaml: rows.0.label: is missing", "a text"),
    ),
    Case(
        "two rows with one id",
        in_ablation("rows.1.id", "student"),
        ("table.yaml: rows: two rows have the id 'student'", "different ids"),
    ),
    Case(
        "unknown baseline",
        in_ablation("baseline", "teacher"),
        ("table.yaml: baseline: 'teacher' is no row", "['student', 'icd']"),
    ),
    Case(
        "a reference of a row that is no row",
        in_ablation("rows.1.reference", "pkd"),
        ("table.yaml: rows.1.reference: 'pkd' is no row", "['student', 'icd']"),
    ),
    Case(
        "an empty choice of a teacher",
        in_ablation("rows.1.change.teacher", {}),
        ("table.yaml: rows.1.change.teacher: is {}", "detector, backbone and schedule"),
    ),
    Case(
        "a teacher of an unknown detector",
        in_ablation("rows.1.change.teacher", {"detector": "magic"}),
        ("table.yaml: rows.icd: does not fit", "has no 'magic'", "'retinanet'"),
    ),
    Case(
        "unknown backbone in a row",
        in_ablation("rows.1.change.backbone", "vgg"),
        ("table.yaml: rows.icd: does not fit track.yaml", "backbones has no 'vgg'", "one of ["),
    ),
    Case(
        "unknown detector in all rows",
        in_ablation("base", {"detector": "yolo"}),
        ("table.yaml: rows.student: does not fit track.yaml", "detectors has no 'yolo'"),
    ),
    Case(
        "a student whose pyramid is not the teacher's",
        in_track("backbones.resnet18-w8.neck.out_channels", 32),
        (
            "table.yaml: rows.icd: does not fit track.yaml",
            "backbones.resnet18-w8.neck.out_channels is 32, that of the teacher's resnet18-w32 64",
            "64, or one width for both in detectors.retinanet.model.neck.out_channels alone",
        ),
    ),
    Case(
        "unknown method in a row",
        in_ablation("rows.1.change.method", "magic"),
        (
            "table.yaml: rows.icd: does not fit track.yaml",
            "methods has no 'magic'",
            "'fitnet', 'icd'",
        ),
    ),
    Case(
        "an option of another method in a row",
        in_ablation("rows.1.change", {"method": "fitnet", "options": {"heads": 2}}),
        ("table.yaml: rows.icd: does not fit", "methods.fitnet.options.heads unknown", "'weight'"),
    ),
    Case(
        "unknown option of a method in a row",
        in_ablation("rows.1.change.options", {"head": 2}),
        ("table.yaml: rows.icd: does not fit", "methods.icd.options.head unknown", "'heads'"),
    ),
    Case(
        "a schedule that is no multiple",
        in_ablation("rows.1.change.schedule", 3),
        ("table.yaml: rows.1.change.schedule: is 3", "e.g. 1x or 3x"),
    ),
    Case(
        "missing ablation",
        remove("ablations/table.yaml"),
        ("table: no such ablation", "one of []"),
    ),
]
THEIRS = """
_base_ = "mmdet::retinanet/retinanet_r18_fpn_1x_coco.py"
width, classes = 8, 2
model = dict(
    backbone=dict(base_channels=width, init_cfg=None),
    neck=dict(in_channels=[width, 2 * width, 4 * width, 8 * width], out_channels=8),
    bbox_head=dict(num_classes=classes, in_channels=8, feat_channels=8, stacked_convs=1),
)
"""


def teacher_checkpoint(classes: int = 2, width: int = 8) -> Break:
    """A run that takes a teacher from elsewhere, whose head is for so many classes."""

    def edit(project: Project) -> None:
        import torch

        importlib.import_module("icd.training.train")  # whose imports are not silent
        teacher = {"config": "their.py", "checkpoint": "their.pth"}
        in_track("roles.teacher", teacher)(project)
        (project.folder / "their.py").write_text(THEIRS)
        torch.save(teacher_weights(classes, width), project.folder / "their.pth")
        written = project.write

        def write_and_describe() -> None:
            written()
            run = load_track("track.yaml").describe({"role": "teacher"}, 0)
            (project.folder / "run").mkdir()
            (project.folder / "run/run.json").write_text(json.dumps(run.description))
            (project.folder / "survey.json").write_text(
                json.dumps({"classes": ["cat", "dog"], "splits": {}})
            )

        project.write = write_and_describe

    return edit


@functools.cache
def teacher_weights(classes: int, width: int) -> dict[str, Any]:
    """Random weights of a detector of :data:`THEIRS`, or of one of another width."""
    from mmdet.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    from icd import ops

    ops.install()
    init_default_scope("mmdet")
    text = THEIRS.replace("width, classes = 8, 2", f"width, classes = {width}, {classes}")
    return MODELS.build(Config.fromstring(text, ".py").model).state_dict()


def after(edit: Break, path: str, how: Callable[[Path], object]) -> Break:
    """First ``edit``; when all is written, something happens to a file."""

    def both(project: Project) -> None:
        edit(project)
        written = project.write

        def write_and_spoil() -> None:
            written()
            how(project.folder / path)

        project.write = write_and_spoil

    return both


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


def halve(path: Path) -> None:
    """A file whose copying was broken off."""
    os.truncate(path, path.stat().st_size // 2)


def full(prefix: str, suffix: str, dir: Path) -> tuple[int, str]:
    """In place of tempfile.mkstemp: a file on a disk without room, the kernel's own."""
    name = str(Path(dir, f"{prefix}full{suffix}"))
    os.symlink("/dev/full", name)
    return os.open(os.devnull, os.O_RDONLY), name


def read_only(prefix: str, suffix: str, dir: Path) -> tuple[int, str]:
    """In place of tempfile.mkstemp: a folder that nothing can be written to."""
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(Path(dir, prefix + suffix)))


RUN_CASES = [
    Case(
        "no folder",
        after(teacher_checkpoint(), "run", shutil.rmtree),
        ("run: does not exist", "the folder of a run"),
    ),
    Case(
        "no description",
        after(teacher_checkpoint(), "run/run.json", Path.unlink),
        ("run/run.json: does not exist", "the description of a run"),
    ),
    Case(
        "half a description",
        after(teacher_checkpoint(), "run/run.json", halve),
        ("run/run.json: is no JSON", "the description of a run"),
    ),
    Case(
        "no survey",
        after(teacher_checkpoint(), "survey.json", Path.unlink),
        ("survey.json: does not exist", "run icd check"),
    ),
    Case(
        "half a survey",
        after(teacher_checkpoint(), "survey.json", halve),
        ("survey.json: is no JSON", "run icd check"),
    ),
    Case(
        "no checkpoint",
        after(teacher_checkpoint(), "their.pth", Path.unlink),
        ("their.pth: cannot be read (No such file", "a PyTorch checkpoint"),
    ),
    Case(
        "half a checkpoint",
        after(teacher_checkpoint(), "their.pth", halve),
        ("their.pth: is damaged or no checkpoint", "a PyTorch checkpoint"),
    ),
    Case(
        "an empty checkpoint",
        after(teacher_checkpoint(), "their.pth", other(b"")),
        ("their.pth: is damaged or no checkpoint", "a PyTorch checkpoint"),
    ),
    Case(
        "a web page as checkpoint",
        after(teacher_checkpoint(), "their.pth", other(b"<!DOCTYPE html><html></html>")),
        ("their.pth: is damaged or no checkpoint", "a PyTorch checkpoint"),
    ),
    Case(
        "code in a checkpoint",
        after(teacher_checkpoint(), "their.pth", pickled),
        ("their.pth: holds posix.system, which is no plain data", "a PyTorch checkpoint"),
    ),
    Case(
        "a checkpoint for other classes",
        teacher_checkpoint(classes=3),
        ("their.pth: bbox_head.retina_cls.", "has shape (27", "the number of classes of this"),
    ),
    Case(
        "a checkpoint of another width",
        teacher_checkpoint(width=16),
        ("their.pth: backbone.", "has shape (16", "as the config"),
    ),
    Case(
        "a config that is no Python",
        after(teacher_checkpoint(), "their.py", other(b"model = dict(")),
        ("their.py: is no Python", "expected a config of mmdet"),
    ),
]
TRAIN = ["train", "run", "--data", "my data", "--survey", "survey.json"]
TRAIN += ["--manifest", "manifest.json"]
CHECK = ["check", "track.yaml", "--data", "my data", "--output", "out/data.json"]
COLLECT = ["collect", "table", "track.yaml", "--data", "my data", "--folder", "out"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ablations, "FOLDER", tmp_path / "ablations")
    return Project(tmp_path)


@pytest.mark.parametrize(
    ("command", "case"),
    [
        pytest.param(command, case, id=f"{kind}: {case.name}")
        for kind, command, cases in (
            ("track", CHECK, TRACK_CASES),
            ("data", CHECK, DATA_CASES),
            ("ablation", COLLECT, ABLATION_CASES),
            ("run", TRAIN, RUN_CASES),
        )
        for case in cases
    ],
)
def test_bad_input_ends_with_one_clear_line(project, capsys, command, case):
    case.edit(project)
    project.write()
    capsys.readouterr()  # what mmdet says when it is imported
    assert cli.main(command) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.endswith("\n")
    (line,) = printed.err.splitlines()
    assert line.startswith("error: ")
    assert "; expected " in line
    for words in case.words:
        assert words in line
    assert_no_result()


def assert_no_result() -> None:
    """Nothing is there that a later call could take for the outcome of this one."""
    assert not Path("out").exists()
    left = {path.name for path in Path("run").glob("**/*")} if Path("run").exists() else set()
    assert left <= {"run.json", "lock", "failed.json"}
    assert not Path("manifest.json").exists()


@pytest.mark.parametrize(
    ("mkstemp", "words"),
    [(full, "No space left on device"), (read_only, "Read-only file system")],
)
def test_a_disk_that_takes_nothing_is_named(project, monkeypatch, capsys, mkstemp, words):
    teacher_checkpoint()(project)
    project.write()
    monkeypatch.setattr("tempfile.mkstemp", mkstemp)
    assert cli.main(TRAIN) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: run/")
    assert line.endswith(
        f": cannot be written ({words}); expected room and permission to write there"
    )
    assert_no_result()


def test_a_gpu_that_is_not_there_is_named(project, monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    teacher_checkpoint()(project)
    project.write()
    capsys.readouterr()
    assert cli.main([*TRAIN, "--gpus", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: machine.gpus: asks for 1")
    assert_no_result()


def test_the_same_run_unbroken_is_carried_out(project):
    teacher_checkpoint()(project)
    project.write()
    assert cli.main(TRAIN) == 0
    assert {path.name for path in Path("run").iterdir()} >= {"model.py", "model.pth"}
    assert Path("manifest.json").exists()


def test_the_same_input_unbroken_passes(project, capsys):
    project.write()
    assert cli.main(CHECK) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "train: 2 images, 2 objects in 2 classes" in printed.out
    survey = json.loads(Path("out/data.json").read_text())
    assert survey["classes"] == ["cat", "dog"]
    assert survey["splits"]["test"]["objects"] == 2


def environment() -> dict[str, str]:
    """Jobs and Snakemake of this Python, with the package importable from anywhere."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}


def test_the_module_says_the_same_and_exits_with_2(project):
    in_coco("categories", None)(project)
    project.write()
    result = subprocess.run(
        [sys.executable, "-m", "icd", *CHECK], env=environment(), capture_output=True, text=True
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: my data/train.json: categories: is missing or no list;")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (in_track("recipe.colour", 1), "error: track.yaml: recipe.colour: unknown key; expected"),
        (in_track("data.root", "$place"), "error: track.yaml: data.root: $place is not set; "),
        (
            in_track("roles.teacher", {"config": "track.yaml", "checkpoint": "their.pth"}),
            "error: track.yaml: roles.teacher.checkpoint: their.pth does not exist; expected",
        ),
    ],
    ids=["unknown key", "root not set", "missing teacher checkpoint"],
)
def test_snakemake_hands_the_message_on(project, edit, words):
    edit(project)
    project.write()
    command = ["-m", "snakemake", "-n", "-s", str(ROOT / "Snakefile"), "--directory", "."]
    result = subprocess.run(
        [sys.executable, *command, "--config", "track=track.yaml"],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    # Before it, Snakemake names the profile that it uses.
    _, line = result.stderr.splitlines()
    assert line.startswith(words)
