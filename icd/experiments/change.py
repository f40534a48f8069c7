"""The changes that a row of a table makes to the track's student."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from icd.experiments.base import Model
from icd.experiments.options import DecoderTraining
from icd.experiments.recipe import ScheduleName


class TeacherChange(Model):
    """detector, backbone and schedule of the teacher, where they differ from the track's"""

    detector: str | None = Field(None, description="a name among the track's detectors")
    backbone: str | None = Field(None, description="a name among the track's backbones")
    schedule: ScheduleName | None = None

    @model_validator(mode="after")
    def _say_something(self) -> TeacherChange:
        if not self.model_fields_set:
            raise ValueError("is empty")
        return self


class Change(Model):
    """Changes to the track's student."""

    role: Literal["teacher", "student"] = Field(
        "student", description="whether the row shows the student or its teacher"
    )
    detector: str | None = Field(None, description="a name among the track's detectors")
    backbone: str | None = Field(None, description="a name among the track's backbones")
    schedule: ScheduleName | None = None
    method: str = Field("none", description="none or the name of a method")
    options: dict[str, Any] = Field(default_factory=dict, description="arguments of the method")
    inherit: bool = Field(False, description="start with the teacher's neck and head")
    pretrained: Literal["own"] | None = Field(
        None,
        description="own: each run has a pre-training with its own seed instead of the shared one",
    )
    adapter: bool | None = Field(
        None, description="true allows pyramids of different widths in student and teacher"
    )
    decoder: DecoderTraining | None = None
    teacher: TeacherChange | None = None
