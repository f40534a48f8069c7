"""Checks that data has the masks that a detector needs."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from icd.errors import InputError
from icd.experiments.run import AnyRun, TrainedRun
from icd.experiments.splits import TEST
from icd.experiments.track import Track
from icd.training.base_config import base_config, config_name
from icd.training.config import RunInputs, metrics

# Counts of a survey that must be zero for some detectors, and what these detectors need.
WANTED = {
    "without_mask": "polygons or a run-length code in segmentation",
    "run_lengths": "polygons in segmentation, because this detector's config cannot read RLE",
}


def require_masks(run: AnyRun, inputs: RunInputs) -> None:
    """Raise InputError if a run's detector needs masks that its data lacks."""
    error = missing_masks(run, inputs)
    if error is not None:
        raise error


def missing_masks(run: AnyRun, inputs: RunInputs) -> InputError | None:
    """The error of a run whose detector needs masks that its data lacks, or None."""
    splits = {split: inputs.survey["splits"].get(split, {}) for split in (run.split, TEST)}
    checks = [(run.split, "without_mask"), (TEST, "without_mask"), (run.split, "run_lengths")]
    lacking = [(split, key) for split, key in checks if splits[split].get(key)]
    if not lacking:
        return None  # avoids reading the config, which is slow
    needed = needed_masks(base_config(run))
    for split, key in lacking:
        if key in needed:
            file = run.files_of(split).annotation_file(inputs.data)
            problem = _problem(run, splits[split][key], key)
            return InputError(file, "annotations", problem, WANTED[key])
    return None


def _problem(run: AnyRun, count: int, key: str) -> str:
    name = run.detector.name if isinstance(run, TrainedRun) else config_name(run)
    lack = "have no mask" if key == "without_mask" else "have a run-length code"
    return f"{count:,} {lack}, but the detector {name} learns masks"


def needed_masks(config: Config) -> list[str]:
    """The keys of ``WANTED`` whose counts must be zero for an mmdet config."""
    steps = [step for step in config.get("train_pipeline") or [] if step.get("with_mask")]
    if not steps and "segm" not in metrics(config):
        return []
    only_polygons = not all(step.get("poly2mask", True) for step in steps)
    return ["without_mask", "run_lengths"] if only_polygons else ["without_mask"]


def compare_detectors(track: Track, survey: dict[str, Any]) -> str:
    """A line of text that lists the track's detectors that can use its data.

    Raises:
        InputError: the track's first detector cannot. Rows that name no detector use it.
    """
    inputs, unsuited = RunInputs(track.data_root, survey), []
    for i, name in enumerate(track.content.detectors):
        error = missing_masks(track.describe({"detector": name}, seed=0), inputs)
        if error is not None and i == 0:
            raise error
        if error is not None:
            unsuited.append(name)
    suited = [name for name in track.content.detectors if name not in unsuited]
    text = f"detectors for this data: {', '.join(suited)}"
    return f"{text} (not, because they learn masks: {', '.join(unsuited)})" if unsuited else text
