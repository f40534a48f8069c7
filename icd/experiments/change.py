"""The changes that a row of a table makes to the track's student."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from icd.experiments.base import DIFFERENT, Model
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


Methods = Annotated[
    list[Annotated[str, Field(description="the name of a method")]],
    Field(min_length=1),
    *DIFFERENT,
]


class Change(Model):
    """Changes to the track's student."""

    role: Literal["teacher", "student"] = Field(
        "student", description="whether the row shows the student or its teacher"
    )
    detector: str | None = Field(None, description="a name among the track's detectors")
    backbone: str | None = Field(None, description="a name among the track's backbones")
    schedule: ScheduleName | None = None
    method: str | Methods = Field(
        "none",
        description="none, the name of a method, or a list of methods whose losses are added",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="arguments of the method; for a list of methods: those of each, by its name",
    )
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

    @model_validator(mode="after")
    def _require_methods(self) -> Change:
        """A list names methods, and options then name the method that they are for."""
        if isinstance(self.method, str):
            return self
        if "none" in self.method:
            context = {"value": self.method, "expected": "none alone, or a list of methods"}
            raise PydanticCustomError("requires", "{key}", {"key": "method"} | context)
        for name, options in self.options.items():
            key = f"options.{name}"
            if name not in self.method:
                expected = f"the options of each method by its name: one of {sorted(self.method)}"
            elif not isinstance(options, dict):
                expected = f"options of {name}, by their names"
            else:
                continue
            context = {"key": key, "value": options, "expected": expected}
            raise PydanticCustomError("requires", "{key}", context)
        return self

    @property
    def methods(self) -> list[str]:
        """The names of the methods whose losses are added, in alphabetical order."""
        if isinstance(self.method, str):
            return [] if self.method == "none" else [self.method]
        return sorted(self.method)

    def options_of(self, method: str) -> dict[str, Any]:
        """What the row states for one of its methods."""
        options = self.options
        return options if isinstance(self.method, str) else options.get(method, {})
