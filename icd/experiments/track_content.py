"""The content of a track file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from icd.experiments.base import DIFFERENT, Model, Name
from icd.experiments.machine import Machine
from icd.experiments.options import MethodEntry
from icd.experiments.recipe import TrackRecipe
from icd.experiments.roles import Backbone, Roles, TrackDetector
from icd.experiments.splits import Data, Resizing, Split
from icd.experiments.trackers import Tracker


class TrackContent(Model):
    """A track (name, title, data and so on, as in workflow/tracks)."""

    name: str = Field(
        pattern="^[a-z0-9][a-z0-9_-]*$",
        description="a short name of small letters, digits, - and _",
    )
    title: str = Field(description="a text")
    data: Data
    images: Resizing
    detectors: dict[Name, TrackDetector] = Field(min_length=1, description="detectors by name")
    backbones: dict[Name, Backbone] = Field(min_length=1, description="backbones by name")
    recipe: TrackRecipe
    roles: Roles
    methods: dict[Name, MethodEntry] = Field(
        description="distillation methods by name, with the options that differ from the defaults"
    )
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**32)]], *DIFFERENT] = Field(
        min_length=1, description="a list of different seeds, e.g. [0, 1, 2]"
    )
    machine: Machine = Machine()
    tracking: Annotated[list[Tracker], *DIFFERENT] = Field(
        [], description="experiment trackers that follow trainings and show results"
    )

    @property
    def splits(self) -> dict[str, Split]:
        """Files of each split, relative to the root of the data."""
        return {name: self.data.split(name) for name in self.data.splits.names}

    @property
    def detector(self) -> str:
        """Name of the student's detector in rows that name none."""
        return self.roles.student.detector or next(iter(self.detectors))
