"""The steps of a rehearsal: train, stop, resume, evaluate, load the export in plain mmdet."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from icd.experiments.kind import FILES, changed
from icd.experiments.machine import Machine
from icd.experiments.run import TrainedRun
from icd.experiments.splits import TEST
from icd.files import read_json, write_json
from icd.process.failures import failure
from icd.rehearsal.child import python
from icd.rehearsal.untrained import place_untrained
from icd.training.config import RunInputs

SECONDS = 3600  # for one step; one that takes longer hangs
WARM_UP = 3  # iterations of each session that do not count


class StepError(Exception):
    """A step of a rehearsal failed; the message is one line."""


@dataclass
class Rehearsing:
    """A rehearsal on its way.

    run: the short training, whose folder lies in ``place``.
    place: folder of all its files.
    data: root folder of its images.
    survey: the file with their classes.
    machine: threads, workers and GPUs of the runs.
    log: file for the output of all steps.
    host_mib: peak memory of the steps so far.
    """

    run: TrainedRun
    place: Path
    data: Path
    survey: Path
    machine: Machine
    log: Path
    host_mib: float = field(default=0.0)

    @property
    def times(self) -> Path:
        """The file of the training's times."""
        return self.place / "times.json"

    def describe(self) -> None:
        """Write the description of the run and a teacher with random weights."""
        self.run.folder.mkdir(parents=True)
        write_json(self.run.folder / "run.json", self.run.description)
        if self.run.teacher:
            survey = read_json(self.survey, "the survey of the images")
            place_untrained(self.run.teacher, RunInputs(self.data, survey))

    def train(self) -> None:
        """Train until the training is stopped in the middle, and resume it."""
        status = self._step(self._training())
        if status == 0:
            raise StepError("train: was not stopped by SIGTERM")
        self._require(status, 128 + signal.SIGTERM, "train")
        self._require(self._step(self._training()), 0, "resume")
        first, second = self.sessions()
        if second["first"] != len(first["seconds"]):
            raise StepError(f"resume: started from iteration {second['first']}")

    def evaluate(self) -> None:
        """Compute the COCO metrics on the few test images."""
        split = FILES[TEST]
        images = ["--images", str(self.data / split.images)]
        arguments = ["evaluate", str(self.run.folder), "--output", str(self.place / "metrics.json")]
        arguments += ["--annotations", str(self.data / split.annotations), *images]
        arguments += ["--evaluator", self.machine.evaluator]
        status = self._step([*arguments, "--gpus", str(min(self.machine.gpus, 1))])
        self._require(status, 0, "evaluate")

    def load(self) -> None:
        """Load the exported detector in plain mmdet."""
        files = [str(self.run.folder / name) for name in ("model.py", "model.pth")]
        split = FILES[TEST]
        content = json.loads((self.data / split.annotations).read_text())
        image = self.data / split.images / content["images"][0]["file_name"]
        status = self._step([*files, str(image)], "icd.rehearsal.load")
        self._require(status, 0, "load in mmdet")

    def sessions(self) -> list[dict[str, Any]]:
        """The two sessions of the training, as RehearsalHook wrote them."""
        found: list[dict[str, Any]] = read_json(self.times, "times of a rehearsal")["sessions"]
        return found

    def measured(self) -> dict[str, Any]:
        """Seconds per iteration, share of loading and peak memory, see Rehearsed."""
        sessions = self.sessions()
        seconds = [s for one in sessions for s in steady(one["seconds"])]
        loading = [s for one in sessions for s in steady(one["loading"])]
        gpu = [one["gpu_mib"] for one in sessions if "gpu_mib" in one]
        return {
            "seconds_per_iteration": median(seconds),
            "loading": sum(loading) / sum(seconds),
            "gpu_mib": max(gpu, default=None),
            "host_mib": self.host_mib,
            "iterations": [s for one in sessions for s in one["seconds"]],
        }

    def _training(self) -> list[str]:
        machine = self.machine
        return [
            *("train", str(self.run.folder), "--data", str(self.data)),
            *("--survey", str(self.survey), "--manifest", str(self.place / "manifest.json")),
            *("--gpus", str(machine.gpus), "--workers", str(machine.workers)),
            *("--rehearse", str(self.times)),
        ]

    def _step(self, arguments: Sequence[str], module: str = "icd") -> int:
        """Run a command in a process of its own; returns its exit status."""
        try:
            ended = python(["-m", module, *arguments], self.log, SECONDS)
        except TimeoutError as error:
            raise StepError(f"{arguments[0]}: {error}") from error
        self.host_mib = max(self.host_mib, ended.mebibytes)
        return ended.status

    def _require(self, status: int, expected: int, step: str) -> None:
        """Raise StepError unless a step ended with this status."""
        if status != expected:
            reason = failure(self.run.folder, TEST) or last_line(self.log)
            raise StepError(f"{step}: {reason or f'exit status {status}'}")


def steady(values: list[float]) -> list[float]:
    """The values after the warm-up; the last one if there are no more."""
    return values[WARM_UP:] or values[-1:]


def last_line(log: Path) -> str:
    """The last line of a log that is not empty."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def placed(run: TrainedRun, place: Path) -> TrainedRun:
    """The same run with its folder, and that of its teacher, in ``place``, a folder of results."""
    track = str(place.relative_to("results"))
    teacher = changed(run.teacher, track=track) if run.teacher else None
    return changed(run, track=track, teacher=teacher)
