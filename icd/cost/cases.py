"""What is measured, and what came out, as data; nothing heavy is imported here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from icd.errors import InputError
from icd.experiments.ablation import missing
from icd.experiments.run import Cost, Run, Step
from icd.experiments.schema import WORKFLOW, load_yaml
from icd.experiments.track import Track

FILE = WORKFLOW / "cost.yaml"
BASE = ("student", "teacher")  # rows that every ratio is to
SECONDS, MEMORY = "seconds", "MiB"
STEP, METHOD = "step", "method"  # a whole training step; what the method adds to it
MULTIPLE = 32  # of pixels, to which mmdet pads


@dataclass(frozen=True)
class Setting:
    """A batch, and how often it is measured.

    steps: ids of the rows of which whole steps are measured; None means all.
    detectors: others than the track's own, with which the main methods are measured too.
    """

    images: int
    rounds: int
    objects: list[int]
    precision: str = "float32"
    steps: list[str] | None = None
    detectors: list[str] = field(default_factory=list)

    @property
    def key(self) -> dict[str, Any]:
        """The columns that tell settings apart."""
        return {"images": self.images, "precision": self.precision}


@dataclass(frozen=True)
class Plan:
    """The content of ``workflow/cost.yaml`` for a track."""

    track: Track
    content: dict[str, Any]

    @property
    def labels(self) -> dict[str, str]:
        """Names in the table by id."""
        return {row["id"]: row["label"] for row in self.content["rows"]}

    @property
    def detector(self) -> str:
        """Name of the track's own detector, with which all rows are measured."""
        return self.student().description["detector"]["name"]

    def student(self, detector: str | None = None) -> Run:
        """The run of a student alone."""
        return self.track.describe({"detector": detector} if detector else {}, 0)

    def runs(self, detector: str) -> dict[str, Run]:
        """A run with the method of each row; with other detectors, of the main methods.

        Rows of what only other tracks have are left out.
        """
        rows = {row["id"]: {"detector": detector, **row["change"]} for row in self.content["rows"]}
        chosen = rows if detector == self.detector else self.content["methods"]
        found = {row: rows[row] for row in chosen if not missing(rows[row], self.track)}
        return {row: self.track.describe(change, 0) for row, change in found.items()}

    def settings(self, device: str) -> list[Setting]:
        """What is measured on a kind of device."""
        chosen = self.content.get("tracks", {}).get(self.track.name, {})
        chosen = chosen.get(device, self.content["settings"].get(device, []))
        found = [Setting(**{"objects": self.content["objects"], **one}) for one in chosen]
        return [replace(one, detectors=self._others(one.detectors)) for one in found]

    def _others(self, detectors: list[str]) -> list[str]:
        """Those that are there and not the track's own."""
        return [name for name in detectors if name != self.detector and self.runs(name)]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images: the track's largest, landscape, padded."""
        longest, shortest = self.track.content["images"]["scale"]
        return tuple(math.ceil(side / MULTIPLE) * MULTIPLE for side in (shortest, longest))


def load_plan(track: Track) -> Plan:
    """The plan of a track.

    Raises:
        InputError: the file is not what its schema says, names rows that it does not have, or has
            none that the track can have.
    """
    content = load_yaml(FILE, "cost")
    known = [row["id"] for row in content["rows"]]
    named = {"methods": content["methods"]}
    for place in (content, *content.get("tracks", {}).values()):
        for device, batches in place.get("settings", place).items():
            for one in batches if device in ("cpu", "cuda") else ():
                named.setdefault(f"{device}.steps", []).extend(one.get("steps", ()))
    for key, rows in named.items():
        if unknown := sorted(set(rows) - set(known)):
            raise InputError(FILE, key, f"{unknown} is no row", f"of {known}")
    plan = Plan(track, content)
    if not plan.runs(plan.detector):
        problem, there = f"the track {track.name} can have none", sorted(track.content["methods"])
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


def method_costs(track: Track, objects: int = 10) -> dict[Step, Cost]:
    """What each method costs, by what decides it (:attr:`Run.step`).

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
        run.step: Cost(float(found.time[detector, row]), float(found.MiB[detector, row]))
        for detector in found.index.unique("detector")
        for row, run in plan.runs(detector).items()
        if (detector, row) in found.index
    }
