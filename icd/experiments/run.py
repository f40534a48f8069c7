"""A run: one training (or imported detector), described by data and identified by its content.

Three kinds: an imported detector, a trained detector, and a decoder that is trained before students
learn with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from icd.errors import InputError
from icd.experiments.base import Model, validate
from icd.experiments.options import Combination, Method
from icd.experiments.recipe import Recipe
from icd.experiments.roles import NamedBackbone, NamedDetector
from icd.experiments.splits import TEST, TRAIN, Generated, Resizing, Split
from icd.files import read_json
from icd.mappings import content_hash

CostGroup = tuple[str, str, str]  # names of detector, backbone and method
StepKey = str  # see Run.step_key

# Part of every description. Increase it when a change of the code changes what runs compute.
VERSION = 2


class Cost(NamedTuple):
    """The cost of a method.

    time: one plus the ratio of the method's own time to the student's step and the teacher's
        forward pass together.
    memory: MiB that the method itself uses, beyond weights and pyramids.
    """

    time: float
    memory: float


class Schedule(Model):
    """A length of training and its name."""

    name: str
    iterations: int


class Run(Model):
    """Weights and everything that determines them, trained here or imported.

    files: annotations and images of each split, relative to the root of the data.
    """

    version: int = VERSION
    track: str
    generated: Generated | None = Field(
        None, description="parameters of the data, if the pipeline generates it"
    )
    files: dict[str, Split]
    images: Resizing

    @cached_property
    def id(self) -> str:
        """A readable slug and a hash of everything that changes the weights."""
        return f"{self.slug}-{content_hash(self.identity)}"

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that changes the weights.

        Defaults are left out, so a new option does not rename existing runs. So are all splits but
        the one that is trained on, so a new test set does not repeat a training.
        """
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
        """The full description as plain data; :func:`read_run` reads it back."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @property
    def slug(self) -> str:
        """A short readable name of the run, valid as a file name."""
        raise NotImplementedError

    @property
    def cost_group(self) -> CostGroup:
        """Detector, backbone and method, which determine most of an iteration's cost."""
        return ("imported", "imported", "imported")

    @property
    def step_key(self) -> StepKey:
        """A hash of what determines a step's cost: images, models, method and options."""
        return content_hash(self.summary)

    @property
    def summary(self) -> dict[str, str | int | bool | None]:
        """The columns that distinguish runs in a table of raw numbers."""
        raise NotImplementedError

    @property
    def split(self) -> str:
        """The split that it is trained on."""
        return TRAIN

    @property
    def iterations(self) -> int:
        """Iterations of its training; 0 for an imported detector."""
        return 0

    @property
    def training_seed(self) -> int | None:
        """Seed of its training; None for an imported detector."""
        return None

    @property
    def processes(self) -> int | None:
        """Number of processes that train it together; None for an imported detector."""
        return None

    @property
    def sources_by_role(self) -> dict[str, Run]:
        """The runs whose weights this one needs, by their key in the description."""
        return {}

    @property
    def sources(self) -> list[Run]:
        """The runs whose weights this one needs."""
        return list(self.sources_by_role.values())

    @property
    def distils(self) -> bool:
        """True if it is trained with a distillation method."""
        return False

    @property
    def folder(self) -> Path:
        """Folder of the run, relative to the root of the project."""
        return Path("results", self.track, "runs", self.id)

    @property
    def manifest(self) -> Path:
        """File of the run's provenance, relative to the root of the project."""
        return Path("results", self.track, "manifests", f"{self.id}.json")

    @property
    def kept(self) -> Path:
        """Folder of its committed weights, if it has some; see :mod:`icd.training.kept`."""
        return Path("results", self.track, "weights", self.id)

    @property
    def outputs(self) -> list[Path]:
        """The files that it leaves, besides its description and manifest."""
        names = ["model.py", "model.pth", *["method.pth"] * self.distils]
        return [self.folder / name for name in names]

    @property
    def weights(self) -> Path:
        """The file of the weights that other runs start or learn from."""
        return self.folder / "model.pth"

    def files_of(self, split: str) -> Split:
        """Annotation file and image folder of a split, relative to the root of the data.

        Raises:
            InputError: the run's data has no such split.
        """
        if split not in self.files:
            raise InputError(self.id, "split", f"is {split!r}", f"one of {sorted(self.files)}")
        return self.files[split]

    def metrics(self, split: str = TEST) -> Path:
        """The file of its COCO metrics on a split."""
        return self.folder / ("metrics.json" if split == TEST else f"metrics-{split}.json")

    def detections(self, split: str = TEST, iou_type: str = "bbox") -> Path:
        """The file of its detections on a split: boxes (bbox) or masks (segm)."""
        return self.folder / split / f"{iou_type}.json"


class ImportedRun(Run):
    """An imported detector, which is used as it is.

    zoo: its name in mmdet's model zoo, if it comes from there.
    sha256: the known digits of the weights' sha256, for a model of the zoo.
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

    trained_on: the split.
    devices: number of devices that share each batch.
    teacher: the run that it distils or inherits from.
    pretrained: the run whose weights it starts from.
    decoder: the run whose decoder its method starts from.
    """

    trained_on: str = TRAIN
    detector: NamedDetector
    backbone: NamedBackbone
    schedule: Schedule
    recipe: Recipe
    method: Method | Combination | None = None
    inherit: bool = False
    teacher: TrainedRun | ImportedRun | None = None
    seed: int
    devices: int = 1
    pretrained: TrainedRun | None = None
    decoder: DecoderRun | None = None

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
        runs = {"pretrained": self.pretrained, "teacher": self.teacher, "decoder": self.decoder}
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


class DecoderRun(Run):
    """A method's decoder, trained on a teacher's features before students learn with it.

    It depends on teacher and annotations only, so students of any kind and seed share it.

    teacher: the run whose features it decodes.
    method: the method, with the options that concern its decoder.
    recipe: how it is trained; batch and precision are those of its students.
    devices: number of devices that share each batch.
    """

    teacher: TrainedRun | ImportedRun
    method: Method
    schedule: Schedule
    recipe: Recipe
    seed: int
    devices: int = 1

    @property
    def slug(self) -> str:
        return f"{self.teacher.slug}-{self.method.name}-decoder-{self.iterations}"

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
    def sources_by_role(self) -> dict[str, Run]:
        return {"teacher": self.teacher}

    @property
    def outputs(self) -> list[Path]:
        return [self.weights, self.folder / "decoder.json"]

    @property
    def weights(self) -> Path:
        return self.folder / "decoder.pth"

    @property
    def cost_group(self) -> CostGroup:
        detector, backbone, _ = self.teacher.cost_group
        return (detector, backbone, f"decoder of {self.method.name}")

    @property
    def summary(self) -> dict[str, str | int | bool | None]:
        return {
            "track": self.track,
            "teacher": self.teacher.id,
            "method": self.method.name,
            "iterations": self.iterations,
            "seed": self.seed,
        }


Training = TrainedRun | DecoderRun  # what is trained here
AnyRun = Training | ImportedRun


def read_run(description: Mapping[str, Any], file: Path) -> AnyRun:
    """The run with this description, which was read from ``file``.

    Raises:
        InputError: the content is not a description of a run.
    """
    if "checkpoint" in description:
        return validate(ImportedRun, description, file)
    if "teacher" in description and "detector" not in description:
        return validate(DecoderRun, description, file)
    return validate(TrainedRun, description, file)


def load_run(folder: Path) -> AnyRun:
    """The run described in ``folder/run.json``."""
    file = folder / "run.json"
    return read_run(read_json(file, "the description of a run, made by snakemake"), file)
