"""A run: one training, described by plain data and identified by its content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from icd.files import read_json

Description = dict[str, Any]
Kind = tuple[str, str, str]  # names of detector, backbone and method
Step = str  # see Run.step

# Part of every description: raise it when a change of the code changes what runs compute.
VERSION = 1


def content_hash(content: Any, length: int = 10) -> str:
    """Short hash of plain data that does not depend on the order of its keys."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:length]


def merge(base: Any, change: Any) -> Any:
    """``change`` laid over ``base``: dictionaries key by key, anything else replaced."""
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    return base | {key: merge(base.get(key), value) for key, value in change.items()}


class Cost(NamedTuple):
    """What a method costs beside a student's step and its teacher's forward pass.

    time: one plus what the method alone takes, as a ratio to these two together.
    memory: MiB that the method alone takes beyond weights and pyramids.
    """

    time: float
    memory: float


@dataclass(frozen=True)
class Run:
    """One training with all that decides its outcome.

    ``description`` holds the keys version, track, data, images, detector, backbone, schedule,
    recipe, method, inherit, teacher (the teacher's own description), seed and devices; pretrained
    (the description of the run it starts from) and split (it is trained on, if not train) where
    the track says so. For a teacher that is taken as it is: version, track, data, images, config
    and checkpoint, and for one from mmdet's model zoo its name there (zoo) and what is known of
    its sha256.
    """

    description: Description

    @cached_property
    def id(self) -> str:
        """A readable slug and the hash of the description."""
        return f"{self.slug}-{content_hash(self.description)}"

    @property
    def slug(self) -> str:
        """What a reader wants to see of a run first, in a form that is fit for a file name."""
        if self.imported:
            return f"zoo-{self.zoo}" if self.zoo else "imported"
        d = self.description
        method = d["method"]["name"] if d["method"] else "plain"
        if "split" in d:
            method = d["split"]
        inherit = "+inherit" if d["inherit"] else ""
        parts = [d["detector"]["name"], d["backbone"]["name"], d["schedule"]["name"]]
        return "-".join([*parts, f"{method}{inherit}", f"seed{d['seed']}"])

    @property
    def imported(self) -> bool:
        """True for a checkpoint from elsewhere, which is not trained."""
        return "checkpoint" in self.description

    @property
    def zoo(self) -> str | None:
        """Name in mmdet's model zoo of a detector that is taken from there."""
        return self.description.get("zoo")

    @property
    def teacher(self) -> Run | None:
        """The run this one distils or inherits from."""
        teacher = self.description.get("teacher")
        return Run(teacher) if teacher else None

    @property
    def pretrained(self) -> Run | None:
        """The run whose weights this one starts from."""
        pretrained = self.description.get("pretrained")
        return Run(pretrained) if pretrained else None

    @property
    def sources_by_role(self) -> dict[str, Run]:
        """The runs whose weights this one needs, as its description calls them."""
        runs = {"pretrained": self.pretrained, "teacher": self.teacher}
        return {role: run for role, run in runs.items() if run}

    @property
    def sources(self) -> list[Run]:
        """The runs whose weights this one needs."""
        return list(self.sources_by_role.values())

    @property
    def split(self) -> str:
        """The images it is trained on."""
        return self.description.get("split", "train")

    @property
    def folder(self) -> Path:
        """Where the run lives, relative to the root of the project."""
        return Path("results", self.description["track"], "runs", self.id)

    def metrics(self, split: str = "test") -> Path:
        """Where its COCO metrics on a split of the data set are written."""
        return self.folder / ("metrics.json" if split == "test" else f"metrics-{split}.json")

    def detections(self, split: str = "test", kind: str = "bbox") -> Path:
        """Where its detections on a split are written: boxes (bbox) or masks (segm)."""
        return self.folder / split / f"{kind}.json"

    @property
    def kind(self) -> Kind:
        """What the cost of an iteration depends on most: detector, backbone and method."""
        return tuple(
            self.summary.get(key, "imported") for key in ("detector", "backbone", "method")
        )

    @property
    def step(self) -> Step:
        """A hash of what decides the cost of a training step: images, models, method, options."""
        own = ("track", "images", "detector", "backbone", "method")
        description = {key: self.description.get(key) for key in own}
        if self.teacher:
            models = ("detector", "backbone", "config")
            description["teacher"] = {k: self.teacher.description.get(k) for k in models}
        return content_hash(description)

    @property
    def summary(self) -> dict[str, str | int | bool | None]:
        """The columns that tell runs apart in a table of raw numbers."""
        d = self.description
        if self.imported:
            return {"track": d["track"], "config": d["config"], "checkpoint": d["checkpoint"]}
        return {
            "track": d["track"],
            "detector": d["detector"]["name"],
            "backbone": d["backbone"]["name"],
            "schedule": d["schedule"]["name"],
            "iterations": d["schedule"]["iterations"],
            "method": d["method"]["name"] if d["method"] else "none",
            "inherit": d["inherit"],
            "teacher": self.teacher.id if self.teacher else None,
            "seed": d["seed"],
        }


def load_run(folder: Path) -> Run:
    """The run whose description lies in ``folder/run.json``."""
    return Run(read_json(folder / "run.json", "the description of a run, made by snakemake"))
