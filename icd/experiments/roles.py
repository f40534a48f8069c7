"""The detectors, backbones and roles (teacher and student) of a track."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from icd.experiments.base import Model, Name
from icd.experiments.recipe import RecipeChange, ScheduleName
from icd.mappings import merge

FPN_WIDTH = 256  # channels of the FPN in mmdet's configs

Config = dict[str, Any]  # a part of an mmdet config


class Detector(Model):
    """An mmdet config and changes to its model."""

    config: str = Field(
        description=(
            "name of a config in mmdet, e.g. retinanet/retinanet_r50_fpn_1x_coco.py, "
            "or path of a config file"
        )
    )
    model: Config = Field(default_factory=dict, description="values merged into the config's model")


class MethodOptions(Model):
    """Options of a method."""

    options: dict[str, Any] = Field(description="arguments of the method")


class TrackDetector(Detector):
    """config (of mmdet) and model (changes to it)"""

    backbone: str | None = Field(
        None,
        description=(
            "a name among the track's backbones: the only one that it works with. Roles and rows "
            "need not name it"
        ),
    )
    recipe: RecipeChange | None = Field(None, description="values merged into the track's recipe")
    methods: dict[Name, MethodOptions] = Field(
        default_factory=dict,
        description="options by method, where this detector needs other values than the track's",
    )


Channels = Annotated[list[float], Field(min_length=3, max_length=3)]


class Normalisation(Model):
    """how images are normalised for the weights that a backbone starts from"""

    mean: Channels = Field(description="mean of each channel, in the order of the network's input")
    std: Channels = Field(description="divisor of each channel, in the same order")
    bgr_to_rgb: bool = Field(description="whether the network sees RGB (true) or BGR (false)")


class Backbone(Model):
    """values merged into the config's model: for backbone, neck and normalisation"""

    backbone: Config = Field(description="values merged into the config's model.backbone")
    neck: Config = Field(
        default_factory=dict, description="values merged into the config's model.neck"
    )
    data_preprocessor: Normalisation | None = Field(
        None, description="replaces the normalisation of the config's model.data_preprocessor"
    )


class NamedDetector(Detector):
    """A detector in the description of a run."""

    name: str


class NamedBackbone(Backbone):
    """A backbone in the description of a run."""

    name: str


def pyramid_width(detector: Detector, backbone: Backbone) -> object:
    """Channels of the feature pyramid of a detector with a backbone, as the track states them.

    A number, or a list with one for each level. Of several necks, the last that states it.
    """
    stated = detector.model.get("neck", {})
    if isinstance(stated, list) and all(isinstance(neck, dict) for neck in stated):
        widths = [neck["out_channels"] for neck in stated if "out_channels" in neck]
        return widths[-1] if widths else FPN_WIDTH
    neck = merge(stated, backbone.neck)
    return neck.get("out_channels", FPN_WIDTH) if isinstance(neck, dict) else neck


def is_width(stated: object) -> bool:
    """Whether it is a number of channels, or a list with one for each level."""
    numbers = stated if isinstance(stated, list) else [stated]
    return len(numbers) > 0 and all(type(number) is int for number in numbers)


class Pretrained(Model):
    """split and schedule of the pre-training, a training of the same detector"""

    split: str = Field(description="a name among the splits of the data")
    schedule: ScheduleName


class Role(Model):
    """backbone, schedule and changes to the recipe"""

    detector: str | None = Field(
        None,
        description=(
            "a name among the track's detectors. For the student: the detector of rows that name "
            "none (default: the track's first). For the teacher: its detector for all students "
            "(default: that of each student)"
        ),
    )
    backbone: str = Field(description="a name among the track's backbones")
    schedule: ScheduleName
    recipe: RecipeChange | None = Field(None, description="values merged into the track's recipe")
    pretrained: Pretrained | None = None
    seed: int | None = Field(
        None,
        ge=0,
        lt=2**32,
        description="one seed for all runs of this role; default: the row's seeds",
    )


class ZooTeacher(Model):
    """a teacher of mmdet's model zoo"""

    zoo: str = Field(description="Name of a model in mmdet's metafiles")
    sha256: str = Field(
        "", pattern="^[0-9a-f]{64}$", description="sha256 of the weights (64 digits)"
    )


class OwnTeacher(Model):
    """your own teacher"""

    config: str = Field(description="path of an mmdet config file")
    checkpoint: str = Field(description="path of the weights")


def _tag(content: Any) -> str | None:
    if not isinstance(content, Mapping | Model):
        return None
    keys = content if isinstance(content, Mapping) else content.model_fields_set
    if {"config", "checkpoint"} & {*keys}:
        return "<own>"
    return "<zoo>" if "zoo" in keys else "<trained>"


Teacher = Annotated[
    Annotated[Role, Tag("<trained>")]
    | Annotated[ZooTeacher, Tag("<zoo>")]
    | Annotated[OwnTeacher, Tag("<own>")],
    Discriminator(_tag),
    Field(
        description=(
            "a teacher to train (backbone, schedule), one of mmdet's model zoo (zoo), or your own "
            "(config, checkpoint)"
        )
    ),
]


class Roles(Model):
    """the teacher and the student, unless a row of an ablation changes them"""

    teacher: Teacher
    student: Role
