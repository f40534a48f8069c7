"""What a track trains: detectors and backbones by name, and who teaches whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from icd.experiments.base import Model, Name
from icd.experiments.recipe import RecipeChange, ScheduleName
from icd.mappings import merge

FPN_WIDTH = 256  # channels of a pyramid in mmdet's configs

Config = dict[str, Any]  # a part of an mmdet config


class Detector(Model):
    """An mmdet config and changes to its model."""

    config: str = Field(
        description=(
            "name of a config that mmdet ships, e.g. retinanet/retinanet_r50_fpn_1x_coco.py, "
            "or path of a config file"
        )
    )
    model: Config = Field(default_factory=dict, description="values merged into the config's model")


class MethodOptions(Model):
    """Options of a method."""

    options: dict[str, Any] = Field(description="arguments of the method")


class TrackDetector(Detector):
    """config (of mmdet) and model (changes to it)"""

    recipe: RecipeChange | None = Field(None, description="values merged into the track's recipe")
    methods: dict[Name, MethodOptions] = Field(
        default_factory=dict,
        description="options of methods by name, where this detector needs others than the track's",
    )


class Backbone(Model):
    """values merged into the config's model, for backbone and neck"""

    backbone: Config = Field(description="values merged into the config's model.backbone")
    neck: Config = Field(
        default_factory=dict, description="values merged into the config's model.neck"
    )


class NamedDetector(Detector):
    """A detector as a run describes it."""

    name: str


class NamedBackbone(Backbone):
    """A backbone as a run describes it."""

    name: str


def pyramid_width(detector: Detector, backbone: Backbone) -> int:
    """Channels of the feature pyramid of a detector with a backbone."""
    width = merge(detector.model.get("neck", {}), backbone.neck).get("out_channels", FPN_WIDTH)
    assert isinstance(width, int)
    return width


class Pretrained(Model):
    """split and schedule of a training of the same detector that this one starts from"""

    split: str = Field(description="a name among the splits of the data")
    schedule: ScheduleName


class Role(Model):
    """backbone, schedule and changes to the recipe"""

    detector: str | None = Field(
        None,
        description=(
            "a name among the track's detectors. Students are of it where a row names no other "
            "(without it, of the first); the teacher is of it for all students (without it, of "
            "each one's own)"
        ),
    )
    backbone: str = Field(description="a name among the track's backbones")
    schedule: ScheduleName
    recipe: RecipeChange | None = Field(None, description="values merged into the track's recipe")
    pretrained: Pretrained | None = None
    seed: int | None = Field(
        None, ge=0, description="one seed for all runs of this role; else each seed has its own"
    )


class ZooTeacher(Model):
    """a teacher of mmdet's model zoo"""

    zoo: str = Field(description="Name of a model in the metafiles of mmdet")
    sha256: str = Field(
        "", pattern="^[0-9a-f]{64}$", description="sha256 of the weights (64 digits)"
    )


class OwnTeacher(Model):
    """a teacher that you have"""

    config: str = Field(description="path of an mmdet config file")
    checkpoint: str = Field(description="path of the weights")


def _kind_of_teacher(content: Any) -> str:
    keys = content if isinstance(content, Mapping) else content.model_fields_set
    if {"config", "checkpoint"} & {*keys}:
        return "<own>"
    return "<zoo>" if "zoo" in keys else "<trained>"


Teacher = Annotated[
    Annotated[Role, Tag("<trained>")]
    | Annotated[ZooTeacher, Tag("<zoo>")]
    | Annotated[OwnTeacher, Tag("<own>")],
    Discriminator(_kind_of_teacher),
    Field(
        description=(
            "a teacher to train (backbone, schedule), one of mmdet's model zoo (zoo), or one that "
            "you have (config, checkpoint)"
        )
    ),
]


class Roles(Model):
    """what the teacher and the student are, if an ablation does not say otherwise"""

    teacher: Teacher
    student: Role
