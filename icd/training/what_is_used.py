"""What of a detector's config a training uses, what it replaces, and what it ignores."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

from icd.experiments.run import TrainedRun, Training
from icd.process.signals import tell
from icd.training.base_config import (
    config_name,
    flat,
    ignored_parts,
    min_size,
    short_name,
    written_config,
)
from icd.training.pipeline import distorts, gives_way, replaced, sized_augments
from icd.training.settings import mmdet_settings, track_settings

REPLACED = (
    "data, batch size, samplers, optimizer, schedules, default hooks, and the steps that resize or"
    " flip"
)


def say_what_is_used(run: Training, surveyed_side: int) -> None:
    """Print what of the detector's config is taken and replaced, and report what is ignored.

    ``surveyed_side``: shortest side of the images that the priors count.
    """
    name, written = config_name(run), written_config(run)
    base = flat(deepcopy(written))
    taken = [step for step in base.train_pipeline if not gives_way(step)]
    steps = ", ".join(short_name(step["type"]) for step in taken)
    filters = base.train_dataloader.dataset.get("filter_cfg")
    print(f"{name}: taken: model, test pipeline, metric, filter_cfg {filters}, pipeline {steps}")
    print(f"{name}: replaced by the track's: {REPLACED}")
    for setting in replaced_settings(run) if isinstance(run, TrainedRun) else ():
        print(f"{name}: {setting}")
    for ignored in ignored_parts(written):
        tell(f"{name}: ignored: {ignored}")
    if others := [*replaced(base.train_pipeline), *sized_augments(base.model)]:
        tell(f"{name}: ignored: {', '.join(others)}, because the track's images say how large")
    if isinstance(run, TrainedRun) and distorts(base.train_pipeline):
        width, height = run.images.test_scale
        tell(f"{name}: makes all images {width} x {height} pixels, whatever their aspect ratio")
    if min_size(base) != surveyed_side:
        tell(
            f"{name}: trains on images from {min_size(base)} pixels; the priors count those from"
            f" {surveyed_side} (icd check uses the track's first detector)"
        )


def replaced_settings(run: TrainedRun) -> Iterator[str]:
    """One line for each setting of the detector's config that the run trains otherwise."""
    ours = track_settings(run)
    for setting, theirs in mmdet_settings(written_config(run)).items():
        if ours[setting] != theirs:
            yield f"{setting}: {ours[setting]}; the config has {theirs}, which is not used"
