"""The measurements of costs and their results as data. Imports nothing slow."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field

from icd.errors import InputError
from icd.experiments.ablation import missing
from icd.experiments.base import Model
from icd.experiments.change import Change
from icd.experiments.known_tracks import require_known_track
from icd.experiments.run import Cost, StepKey, TrainedRun
from icd.experiments.track import Track
from icd.experiments.yaml_files import WORKFLOW, load_yaml

FILE = WORKFLOW / "cost.yaml"
BASE = ("student", "teacher")  # rows whose sum is the denominator of every ratio
SECONDS, MEMORY = "seconds", "MiB"
STEP, METHOD = "step", "method"  # a whole training step; the method's part of it
MULTIPLE = 32  # mmdet pads images to a multiple of so many pixels

Objects = Annotated[int, Field(ge=1, description="a number of objects")]


class Setting(Model):
    """A batch and how often it is measured."""

    images: int = Field(ge=1, description="images in a batch")
    rounds: int = Field(ge=1, description="number of rounds; each measures all rows in turn")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="precision of the networks"
    )
    objects: list[Objects] = Field(
        default_factory=list, description="numbers of objects, instead of the file's"
    )
    steps: list[str] | None = Field(
        None, description="ids of the rows whose whole steps are measured; default: all"
    )
    detectors: list[str] = Field(
        default_factory=list,
        description="further detectors, besides the track's, with which the methods are measured",
    )

    @property
    def key(self) -> dict[str, Any]:
        """The columns that distinguish settings."""
        return {"images": self.images, "precision": self.precision}


class Settings(Model):
    """Batches to measure, by device."""

    cpu: list[Setting] = Field(default_factory=list, description="batches to measure")
    cuda: list[Setting] = Field(default_factory=list, description="batches to measure")

    def of(self, device: str) -> list[Setting]:
        """The settings for a type of device, cpu or cuda."""
        return self.cpu if device == "cpu" else self.cuda


class CostRow(Model):
    """A row of the table."""

    id: str = Field(description="name in the raw numbers")
    label: str = Field(description="name in the table")
    change: Change = Field(description="changes to the track's student")
    only: list[str] | None = Field(
        None, min_length=1, description="names of the detectors that the row suits; default: all"
    )

    def suits(self, detector: str) -> bool:
        """Whether the row can be measured with this detector."""
        return self.only is None or detector in self.only


class CostContent(Model):
    """The measurements of snakemake cost."""

    title: str = Field(description="heading of the table")
    question: str = Field(description="question that the table answers")
    objects: list[Objects] = Field(min_length=1, description="annotated objects in each image")
    rows: list[CostRow] = Field(min_length=1, description="methods with their options")
    methods: list[str] = Field(
        min_length=1, description="ids of the rows that are also measured with other detectors"
    )
    settings: Settings
    tracks: dict[str, Settings] = Field(
        default_factory=dict, description="settings of single tracks, replacing the general ones"
    )

    def named_rows(self) -> Iterator[tuple[str, str]]:
        """Each key that refers to a row, and the id that it gives."""
        yield from (("methods", name) for name in self.methods)
        for settings in (self.settings, *self.tracks.values()):
            for device in ("cpu", "cuda"):
                for one in settings.of(device):
                    yield from ((f"{device}.steps", name) for name in one.steps or ())


@dataclass(frozen=True)
class Plan:
    """The content of ``workflow/cost.yaml`` for a track."""

    track: Track
    content: CostContent

    @property
    def labels(self) -> dict[str, str]:
        """Labels in the table, by row id."""
        return {row.id: row.label for row in self.content.rows}

    @property
    def detector(self) -> str:
        """Name of the track's own detector, with which all rows are measured."""
        return self.track.detector

    def student(self, detector: str | None = None) -> TrainedRun:
        """The run of a student alone."""
        return self._run(Change(detector=detector))

    def runs(self, detector: str) -> dict[str, TrainedRun]:
        """A run for each row; for detectors other than the track's, only the rows in ``methods``.

        Rows that the track cannot have, or that do not suit the detector, are left out.
        """
        rows = {
            row.id: Change(**{"detector": detector, **row.change.stated()})
            for row in self.content.rows
            if row.suits(detector)
        }
        chosen = rows if detector == self.detector else self.content.methods
        there = {
            row: rows[row] for row in chosen if row in rows and not missing(rows[row], self.track)
        }
        return {row: self._run(change) for row, change in there.items()}

    def _run(self, change: Change) -> TrainedRun:
        run = self.track.describe(change, 0)
        assert isinstance(run, TrainedRun), "students are trained"
        return run

    def settings(self, device: str) -> list[Setting]:
        """The settings for a type of device, with all defaults filled in."""
        here = self.track.entry(self.content.tracks)
        chosen = (here and here.of(device)) or self.content.settings.of(device)
        return [
            one.model_copy(
                update={
                    "objects": one.objects or self.content.objects,
                    "detectors": self._others(one.detectors),
                }
            )
            for one in chosen
        ]

    def _others(self, detectors: list[str]) -> list[str]:
        """The detectors that the track has, except its own."""
        return [name for name in detectors if name != self.detector and self.runs(name)]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the track's largest landscape image, padded."""
        longest, shortest = self.track.content.images.scale
        height, width = (math.ceil(side / MULTIPLE) * MULTIPLE for side in (shortest, longest))
        return height, width


def load_plan(track: Track) -> Plan:
    """The plan of a track.

    Raises:
        InputError: the file does not match its schema, refers to unknown rows or tracks, or has no
            row that the track can have.
    """
    content = load_yaml(FILE, CostContent, "cost")
    known = [row.id for row in content.rows]
    for key, name in content.named_rows():
        if name not in known:
            raise InputError(FILE, key, f"{name!r} is not a row", f"one of {known}")
    for name in content.tracks:
        require_known_track(name, track, FILE, f"tracks.{name}")
    plan = Plan(track, content)
    if not plan.runs(plan.detector):
        problem, known = f"the track {track.name} cannot have any", sorted(track.content.methods)
        raise InputError(FILE, "rows", problem, f"a row with one of its methods: {known}")
    return plan


def folder(track: Track) -> Path:
    """The folder of a track's costs."""
    return track.results / "cost"


def ratios(lines: pd.DataFrame) -> pd.DataFrame:
    """Time ratio and peak memory of each row and batch.

    Ratios refer to the student's step plus the teacher's forward pass of the same round.

    Args:
        lines: the raw numbers, with columns device, precision, images, detector, objects, row,
            part, quantity, round and value.

    Returns:
        Columns device, precision, images, detector, objects, row and

        - time: one plus the ratio of the method's own time (median over rounds). Compare rows by
          this column, because it is measured for all of them.
        - step: ratio of a whole step; missing where none was measured.
        - MiB, MiB_step: peak memory of the method alone and of the whole step, beyond weights.
    """
    batch = ["device", "precision", "images", "detector", "objects"]
    seconds = lines[lines.quantity == SECONDS]
    base = seconds[seconds.row.isin(BASE)].groupby([*batch, "round"]).value.sum().rename("base")
    seconds = seconds[~seconds.row.isin(BASE)].join(base, on=[*batch, "round"])
    seconds = seconds.assign(share=seconds.value / seconds.base)
    time = seconds.groupby([*batch, "row", "part"], sort=False).share.median().unstack("part")
    memory = lines[lines.quantity == MEMORY]
    memory = memory.groupby([*batch, "row", "part"], sort=False).value.median().unstack("part")
    times = time.reindex(columns=[METHOD, STEP]).set_axis(["time", "step"], axis=1)
    times.time += 1
    sizes = memory.reindex(columns=[METHOD, STEP]).set_axis(["MiB", "MiB_step"], axis=1)
    return times.join(sizes, how="left").reset_index()


def method_costs(track: Track, objects: int = 10) -> dict[StepKey, Cost]:
    """The cost of each method, by :attr:`Run.step_key`.

    Uses the first batch on the first device in the raw numbers, and the number of objects that is
    nearest to ``objects``. Empty if nothing was measured.
    """
    file = folder(track) / "cost.csv"
    if not file.is_file():
        return {}
    lines = pd.read_csv(file)
    first = lines.iloc[0]
    same = (lines.device == first.device) & (lines.precision == first.precision)
    costs = ratios(lines[same & (lines.images == first.images)])
    nearest = min(costs.objects.unique(), key=lambda count: abs(count - objects))
    costs = costs[costs.objects == nearest].set_index(["detector", "row"])
    plan = load_plan(track)
    return {
        run.step_key: Cost(float(costs.time[detector, row]), float(costs.MiB[detector, row]))
        for detector in costs.index.unique("detector")
        for row, run in plan.runs(detector).items()
        if (detector, row) in costs.index
    }
