"""A run: one training, described by plain data and identified by its content."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from icd.errors import InputError
from icd.experiments.base import Model, validate
from icd.experiments.options import Method
from icd.experiments.recipe import Recipe
from icd.experiments.roles import NamedBackbone, NamedDetector
from icd.experiments.splits import TEST, TRAIN, Generated, Resizing, Split
from icd.files import read_json
from icd.mappings import content_hash

CostGroup = tuple[str, str, str]  # names of detector, backbone and method
StepKey = str  # see Run.step_key

# Part of every description: raise it when a change of the code changes what runs compute.
VERSION = 1


class Cost(NamedTuple):
    """What a method costs beside a student's step and its teacher's forward pass.

    time: one plus what the method alone takes, as a ratio to these two together.
    memory: MiB that the method alone takes beyond weights and pyramids.
    """

    time: float
    memory: float


class Schedule(Model):
    """A length of training by its name."""

    name: str
    iterations: int


class Run(Model):
    """A detector with all that decides its weights: trained here, or taken from elsewhere.

    files: where the annotations and images of each split lie, relative to the root of the data.
    """

    version: int = VERSION
    track: str
    generated: Generated | None = Field(None, description="of data that the pipeline makes")
    files: dict[str, Split]
    images: Resizing

    @cached_property
    def id(self) -> str:
        """A readable slug and the hash of all that changes the weights."""
        return f"{self.slug}-{content_hash(self.identity)}"

    @property
    def identity(self) -> dict[str, Any]:
        """What changes the weights: no default, so that a new option renames no run, and no split
        but the one that is trained on, so that a new test set trains nothing again."""
        content = self.model_dump(
            mode="json",
            by_alias=True,
            exclude_defaults=True,
            exclude={"files", *self.sources_by_role},
        )
        content |= {"version": self.version, "annotated": self.files[self.split].stated()}
        return content | {role: run.identity for role, run in self.sources_by_role.items()}

    @property
    def description(self) -> dict[str, Any]:
        """The whole as plain data, see :func:`read_run`."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @property
    def slug(self) -> str:
        """What a reader wants to see of a run first, in a form that is fit for a file name."""
        raise NotImplementedError

    @property
    def cost_group(self) -> CostGroup:
        """What the cost of an iteration depends on most: detector, backbone and method."""
        return ("imported", "imported", "imported")

    @property
    def step_key(self) -> StepKey:
        """A hash of what decides the cost of a training step: images, models, method, options."""
        return content_hash(self.summary)

    @property
    def summary(self) -> dict[str, str | int | bool | None]:
        """The columns that tell runs apart in a table of raw numbers."""
        raise NotImplementedError

    @property
    def split(self) -> str:
        """The images it is trained on."""
        return TRAIN

    @property
    def iterations(self) -> int:
        """Of its training; 0 for what is not trained here."""
        return 0

    @property
    def training_seed(self) -> int | None:
        """Seed of its training, if it is trained here."""
        return None

    @property
    def processes(self) -> int | None:
        """That train it together, if it is trained here."""
        return None

    @property
    def sources_by_role(self) -> dict[str, Run]:
        """The runs whose weights this one needs, as its description calls them."""
        return {}

    @property
    def sources(self) -> list[Run]:
        """The runs whose weights this one needs."""
        return list(self.sources_by_role.values())

    @property
    def distils(self) -> bool:
        """True if a method teaches it."""
        return False

    @property
    def folder(self) -> Path:
        """Where the run lives, relative to the root of the project."""
        return Path("results", self.track, "runs", self.id)

    def files_of(self, split: str) -> Split:
        """Annotation file and image folder of a split, relative to the root of the data.

        Raises:
            InputError: the run's data has no such split.
        """
        if split not in self.files:
            raise InputError(self.id, "split", f"is {split!r}", f"one of {sorted(self.files)}")
        return self.files[split]

    def metrics(self, split: str = TEST) -> Path:
        """Where its COCO metrics on a split of the data set are written."""
        return self.folder / ("metrics.json" if split == TEST else f"metrics-{split}.json")

    def detections(self, split: str = TEST, iou_type: str = "bbox") -> Path:
        """Where its detections on a split are written: boxes (bbox) or masks (segm)."""
        return self.folder / split / f"{iou_type}.json"


class ImportedRun(Run):
    """A detector from elsewhere, which is taken as it is.

    zoo: its name in mmdet's model zoo, if it is from there; then with what is known of its sha256.
    """

    config: str
    checkpoint: str
    zoo: str | None = None
    sha256: str | None = None

    @property
    def slug(self) -> str:
        return f"zoo-{self.zoo}" if self.zoo else "imported"

    @property
    def summary(self) -> dict[str, str | int | bool | None]:
        return {"track": self.track, "config": self.config, "checkpoint": self.checkpoint}


class TrainedRun(Run):
    """A detector that is trained.

    trained_on: the split. devices: that share each batch. teacher: what it distils or inherits
    from. pretrained: the run whose weights it starts from.
    """

    trained_on: str = TRAIN
    detector: NamedDetector
    backbone: NamedBackbone
    schedule: Schedule
    recipe: Recipe
    method: Method | None = None
    inherit: bool = False
    teacher: TrainedRun | ImportedRun | None = None
    seed: int
    devices: int = 1
    pretrained: TrainedRun | None = None

    @property
    def slug(self) -> str:
        name = self.method.name if self.method else "plain"
        if self.trained_on != TRAIN:
            name = self.trained_on
        inherit = "+inherit" if self.inherit else ""
        parts = [self.detector.name, self.backbone.name, self.schedule.name]
        return "-".join([*parts, f"{name}{inherit}", f"seed{self.seed}"])

    @property
    def split(self) -> str:
        return self.trained_on

    @property
    def iterations(self) -> int:
        return self.schedule.iterations

    @property
    def training_seed(self) -> int | None:
        return self.seed

    @property
    def processes(self) -> int | None:
        return self.devices

    @property
    def distils(self) -> bool:
        return self.method is not None

    @property
    def sources_by_role(self) -> dict[str, Run]:
        runs = {"pretrained": self.pretrained, "teacher": self.teacher}
        return {role: run for role, run in runs.items() if run}

    @property
    def cost_group(self) -> CostGroup:
        method = self.method.name if self.method else "none"
        return (self.detector.name, self.backbone.name, method)

    @property
    def step_key(self) -> StepKey:
        parts = ("images", "detector", "backbone", "method")
        content = {"track": self.track} | {k: self.description.get(k) for k in parts}
        if self.teacher:
            models = ("detector", "backbone", "config")
            content["teacher"] = {k: self.teacher.description.get(k) for k in models}
        return content_hash(content)

    @property
    def summary(self) -> dict[str, str | int | bool | None]:
        return {
            "track": self.track,
            "detector": self.detector.name,
            "backbone": self.backbone.name,
            "schedule": self.schedule.name,
            "iterations": self.schedule.iterations,
            "method": self.method.name if self.method else "none",
            "inherit": self.inherit,
            "teacher": self.teacher.id if self.teacher else None,
            "seed": self.seed,
        }


def read_run(description: Mapping[str, Any], file: Path) -> TrainedRun | ImportedRun:
    """The run of a description that was found in a file.

    Raises:
        InputError: it is not the description of a run.
    """
    if "checkpoint" in description:
        return validate(ImportedRun, description, file)
    return validate(TrainedRun, description, file)


def load_run(folder: Path) -> TrainedRun | ImportedRun:
    """The run whose description lies in ``folder/run.json``."""
    file = folder / "run.json"
    return read_run(read_json(file, "the description of a run, made by snakemake"), file)
