"""The families of mmdet's detectors that are tested, as tracks of one small detector each."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.lab import Lab

FILE = Path(__file__).with_name("families.yaml")
WIDTHS = {"teacher": 16, "student": 8}  # channels of the first stage of a ResNet-18


@dataclass(frozen=True)
class Family:
    """A detector of mmdet, made small; see families.yaml."""

    name: str
    config: str
    model: dict[str, Any] = field(default_factory=dict)
    stages: Sequence[int] = (0, 1, 2, 3)
    backbones: dict[str, Any] | None = None
    because: str = ""

    def in_track(self, lab: Lab) -> Lab:
        """The lab's track with this detector alone, and a teacher and a student of it."""
        backbones = self.backbones or {
            role: resnet(width, self.stages) for role, width in WIDTHS.items()
        }
        content = lab.track.content.stated() | {
            "detectors": {self.name: {"config": self.config, "model": self.model}},
            "backbones": {role: from_scratch(entry) for role, entry in backbones.items()},
            "recipe": lab.track.content.recipe.stated() | {"unit": 1, "ramp": 0},
            "roles": {
                "teacher": {"backbone": "teacher", "schedule": "1x", "seed": 0},
                "student": {"backbone": "student", "schedule": "1x"},
            },
        }
        return lab.stating(copy.deepcopy(content))


def resnet(width: int, stages: Sequence[int]) -> dict[str, Any]:
    """A ResNet-18 with so many channels in its first stage, of which a neck sees these stages."""
    backbone = {"depth": 18, "base_channels": width}
    return {"backbone": backbone, "neck": {"in_channels": [width * 2**stage for stage in stages]}}


def from_scratch(entry: dict[str, Any]) -> dict[str, Any]:
    """A backbone that starts from no weights of others."""
    return entry | {"backbone": {**entry["backbone"], "init_cfg": None}}


def families() -> dict[str, Family]:
    """All families by name."""
    content = yaml.safe_load(FILE.read_text())
    return {
        name: Family(name, **copy.deepcopy(entry))
        for name, entry in content.items()
        if not name.startswith(".")
    }
