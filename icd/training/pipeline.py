"""A track's resizing and flips as steps of mmdet's pipeline."""

from __future__ import annotations

from icd.errors import InputError
from icd.experiments.splits import Resizing
from icd.training.base_config import short_name

RESIZING = ("Resize", "RandomResize", "RandomChoiceResize")


def pipeline(steps: list[dict], images: Resizing, train: bool, config: str) -> list[dict]:
    """mmdet's pipeline with the track's sizes and flips.

    Args:
        steps: the pipeline; a type may be a name or an import path.
        images: the track's sizes and flips.
        train: whether it is for training.
        config: where the pipeline stands, for the message.

    Raises:
        InputError: no step resizes, so the track's sizes would have no effect.
    """
    if not any(short_name(step["type"]) in RESIZING for step in steps):
        key = f"{'train' if train else 'test'}_dataloader.dataset.pipeline"
        raise InputError(config, key, "has no step that resizes", f"one of {', '.join(RESIZING)}")
    changes = dict.fromkeys(RESIZING, resize(images, train)) | {"RandomFlip": flip(images)}
    return [changes.get(short_name(step["type"]), step) for step in (dict(step) for step in steps)]


def resize(images: Resizing, train: bool) -> dict:
    """Keep the aspect ratio; in training, draw the shortest side if the track lists several."""
    if train and images.train_short_sides:
        return {"type": "RandomChoiceResize", "scales": images.train_scales, "keep_ratio": True}
    return {"type": "Resize", "scale": images.test_scale, "keep_ratio": True}


def flip(images: Resizing) -> dict:
    """One of the track's directions, or none, with equal chances."""
    directions = images.flips
    chance = 1 / (len(directions) + 1)
    return {"type": "RandomFlip", "prob": [chance] * len(directions), "direction": directions}
