"""What a row of a table changes of the track's student."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from icd.experiments.base import Model
from icd.experiments.recipe import ScheduleName


class TeacherChange(Model):
    """detector, backbone and schedule of the teacher, where it is not the track's"""

    detector: str | None = Field(None, description="a name among the track's detectors")
    backbone: str | None = Field(None, description="a name among the track's backbones")
    schedule: ScheduleName | None = None

    @model_validator(mode="after")
    def _say_something(self) -> TeacherChange:
        if not self.model_fields_set:
            raise ValueError("says nothing")
        return self


class Change(Model):
    """What differs from the track's student."""

    role: Literal["teacher", "student"] = Field(
        "student", description="the student, or its teacher instead"
    )
    detector: str | None = Field(None, description="a name among the track's detectors")
    backbone: str | None = Field(None, description="a name among the track's backbones")
    schedule: ScheduleName | None = None
    method: str = Field("none", description="none or the name of a method")
    options: dict[str, Any] = Field(default_factory=dict, description="arguments of the method")
    inherit: bool = Field(False, description="start with the teacher's neck and head")
    pretrained: Literal["own"] | None = Field(
        None,
        description="own: a pre-training with the seed of the run, instead of one for all seeds",
    )
    adapter: bool | None = Field(
        None, description="true lets the student's pyramid have another width than the teacher's"
    )
    teacher: TeacherChange | None = None
