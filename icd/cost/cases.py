"""What is measured, and what came out, as data; nothing heavy is imported here."""

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
from icd.experiments.run import Cost, StepKey, TrainedRun
from icd.experiments.track import Track
from icd.experiments.yaml_files import WORKFLOW, load_yaml

FILE = WORKFLOW / "cost.yaml"
BASE = ("student", "teacher")  # rows that every ratio is to
SECONDS, MEMORY = "seconds", "MiB"
STEP, METHOD = "step", "method"  # a whole training step; what the method adds to it
MULTIPLE = 32  # of pixels, to which mmdet pads

Objects = Annotated[int, Field(ge=1, description="of objects")]


class Setting(Model):
    """A batch and how often it is measured."""

    images: int = Field(ge=1, description="images in a batch")
    rounds: int = Field(ge=1, description="how often all is measured in turn")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the networks")
    objects: list[Objects] = Field(
        default_factory=list, description="other numbers of objects than the file's"
    )
    steps: list[str] | None = Field(
        None, description="ids of the rows of which whole steps are measured; without, all"
    )
    detectors: list[str] = Field(
        default_factory=list,
        description="other detectors than the track's, with which the methods are measured too",
    )

    @property
    def key(self) -> dict[str, Any]:
        """The columns that tell settings apart."""
        return {"images": self.images, "precision": self.precision}


class Settings(Model):
    """Batches to measure, by device."""

    cpu: list[Setting] = Field(default_factory=list, description="batches to measure")
    cuda: list[Setting] = Field(default_factory=list, description="batches to measure")

    def of(self, device: str) -> list[Setting]:
        """On a type of device, cpu or cuda."""
        return self.cpu if device == "cpu" else self.cuda


class CostRow(Model):
    """A row of the table."""

    id: str = Field(description="name in the raw numbers")
    label: str = Field(description="name in the table")
    change: Change = Field(description="what it changes of the track's student")


class CostContent(Model):
    """What snakemake cost measures."""

    title: str = Field(description="heading of the table")
    question: str = Field(description="what the table answers")
    objects: list[Objects] = Field(min_length=1, description="annotated objects in each image")
    rows: list[CostRow] = Field(min_length=1, description="methods with their options")
    methods: list[str] = Field(
        min_length=1, description="ids of the rows that are measured with other detectors too"
    )
    settings: Settings
    tracks: dict[str, Settings] = Field(
        default_factory=dict, description="settings of a track instead, by its name"
    )

    def named_rows(self) -> Iterator[tuple[str, str]]:
        """Where a row is named, and its id."""
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
        """Names in the table by id."""
        return {row.id: row.label for row in self.content.rows}

    @property
    def detector(self) -> str:
        """Name of the track's own detector, with which all rows are measured."""
        return self.track.detector

    def student(self, detector: str | None = None) -> TrainedRun:
        """The run of a student alone."""
        return self._run(Change(detector=detector))

    def runs(self, detector: str) -> dict[str, TrainedRun]:
        """A run with the method of each row; with other detectors, of the main methods.

        Rows of what only other tracks have are left out.
        """
        rows = {
            row.id: Change(**{"detector": detector, **row.change.stated()})
            for row in self.content.rows
        }
        chosen = rows if detector == self.detector else self.content.methods
        there = {row: rows[row] for row in chosen if not missing(rows[row], self.track)}
        return {row: self._run(change) for row, change in there.items()}

    def _run(self, change: Change) -> TrainedRun:
        run = self.track.describe(change, 0)
        assert isinstance(run, TrainedRun), "students are trained"
        return run

    def settings(self, device: str) -> list[Setting]:
        """What is measured on a type of device."""
        here = self.content.tracks.get(self.track.name)
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
        """Those that are there and not the track's own."""
        return [name for name in detectors if name != self.detector and self.runs(name)]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images: the track's largest, landscape, padded."""
        longest, shortest = self.track.content.images.scale
        height, width = (math.ceil(side / MULTIPLE) * MULTIPLE for side in (shortest, longest))
        return height, width


def load_plan(track: Track) -> Plan:
    """The plan of a track.

    Raises:
        InputError: the file is not what its schema says, names rows that it does not have, or has
            none that the track can have.
    """
    content = load_yaml(FILE, CostContent, "cost")
    known = [row.id for row in content.rows]
    for key, name in content.named_rows():
        if name not in known:
            raise InputError(FILE, key, f"{name!r} is not a row", f"one of {known}")
    plan = Plan(track, content)
    if not plan.runs(plan.detector):
        problem, there = f"the track {track.name} can have none", sorted(track.content.methods)
        raise InputError(FILE, "rows", problem, f"a row of one of its methods: {there}")
    return plan


def folder(track: Track) -> Path:
    """Where a track's costs lie."""
    return track.results / "cost"


def ratios(lines: pd.DataFrame) -> pd.DataFrame:
    """Of each row and batch: time ratio to student step + teacher forward, and peak memory.

    Args:
        lines: the raw numbers: device, precision, images, detector, objects, row, part, quantity,
            round, value.

    Returns:
        Columns device, precision, images, detector, objects, row, time (one plus what the method
        alone takes of student step and teacher forward of the same round; median over rounds),
        step (the same ratio of a whole step; missing where none was measured), MiB of the method
        alone, and MiB_step of the whole step (both beyond weights). Rows are to be compared by
        time: it was measured of all of them.
    """
    batch = ["device", "precision", "images", "detector", "objects"]
    seconds = lines[lines.quantity == SECONDS]
    base = seconds[seconds.row.isin(BASE)].groupby([*batch, "round"]).value.sum().rename("base")
    seconds = seconds[~seconds.row.isin(BASE)].join(base, on=[*batch, "round"])
    seconds = seconds.assign(share=seconds.value / seconds.base)
    time = seconds.groupby([*batch, "row", "part"], sort=False).share.median().unstack("part")
    memory = lines[lines.quantity == MEMORY]
    memory = memory.groupby([*batch, "row", "part"], sort=False).value.median().unstack("part")
    found = time.reindex(columns=[METHOD, STEP]).set_axis(["time", "step"], axis=1)
    found.time += 1
    sizes = memory.reindex(columns=[METHOD, STEP]).set_axis(["MiB", "MiB_step"], axis=1)
    return found.join(sizes, how="left").reset_index()


def method_costs(track: Track, objects: int = 10) -> dict[StepKey, Cost]:
    """What each method costs, by what decides it (:attr:`Run.step_key`).

    Of the first batch on the first device in the raw numbers; the ratio is one plus what the method
    alone takes. Empty if nothing was measured.
    """
    file = folder(track) / "cost.csv"
    if not file.is_file():
        return {}
    lines = pd.read_csv(file)
    first = lines.iloc[0]
    same = (lines.device == first.device) & (lines.precision == first.precision)
    found = ratios(lines[same & (lines.images == first.images)])
    nearest = min(found.objects.unique(), key=lambda count: abs(count - objects))
    found = found[found.objects == nearest].set_index(["detector", "row"])
    plan = load_plan(track)
    return {
        run.step_key: Cost(float(found.time[detector, row]), float(found.MiB[detector, row]))
        for detector in found.index.unique("detector")
        for row, run in plan.runs(detector).items()
        if (detector, row) in found.index
    }
