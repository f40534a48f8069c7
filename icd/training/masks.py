"""Detectors of masks, and data without masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config

from icd.errors import InputError
from icd.suite.run import Run
from icd.suite.track import TEST, TRAIN, Track, data_split
from icd.training.config import Inputs, base_config, metrics

# Keys of a survey's counts, and what a detector that cannot do with these annotations wants.
WANTED = {
    "without_mask": "polygons or a run-length code in segmentation",
    "run_lengths": "polygons in segmentation, as this detector's config reads no run lengths",
}


def require_masks(run: Run, inputs: Inputs) -> None:
    """Raise InputError if a run's detector needs masks that its data does not have."""
    data = run.description["data"]
    found = {split: inputs.survey["splits"].get(split, {}) for split in (TRAIN, TEST)}
    if not any(counts.get(key) for counts in found.values() for key in WANTED):
        return
    needs = needed_masks(base_config(run))
    for split, counts in found.items():
        for key in needs:
            if counts.get(key):
                file = inputs.data / data_split(data, split)["annotations"]
                raise InputError(file, "annotations", _problem(run, counts, key), WANTED[key])


def _problem(run: Run, counts: dict[str, Any], key: str) -> str:
    name = run.description["config"] if run.imported else run.description["detector"]["name"]
    lack = "have no mask" if key == "without_mask" else "have a run-length code"
    return f"{counts[key]:,} {lack}, but the detector {name} learns masks"


def needed_masks(config: Config) -> list[str]:
    """The keys of ``WANTED`` that have to be zero for an mmdet config."""
    steps = [step for step in config.get("train_pipeline", []) if step.get("with_mask")]
    if not steps and "segm" not in metrics(config):
        return []
    only_polygons = not all(step.get("poly2mask", True) for step in steps)
    return ["without_mask", "run_lengths"] if only_polygons else ["without_mask"]


def compare_detectors(track: Track, survey: dict[str, Any]) -> str:
    """Which detectors of a track its data suits, as text.

    Raises:
        InputError: the first one, which is that of every row that names none, is not suited.
    """
    unsuited = []
    for i, name in enumerate(track.content["detectors"]):
        run = track.describe({"detector": name}, seed=0)
        try:
            require_masks(run, Inputs(Path(track.data_root), survey))
        except InputError:
            if i == 0:
                raise
            unsuited.append(name)
    suited = [name for name in track.content["detectors"] if name not in unsuited]
    text = f"detectors for this data: {', '.join(suited)}"
    return f"{text} (not, since they learn masks: {', '.join(unsuited)})" if unsuited else text
