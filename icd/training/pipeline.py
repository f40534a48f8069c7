"""A track's image sizes and flips as steps of mmdet's pipeline.

The track says how large images are, so steps that state pixels give way: those that resize, crop or
pad to a size, and those that make one image of several. What is relative to the image stays, such
as colours, Expand and MinIoURandomCrop.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from icd.experiments.splits import Resizing
from icd.training.base_config import short_name

Step = dict[str, Any]

RESIZING = ("Resize", "RandomResize", "RandomChoiceResize")
# Steps that state pixels, beside these.
SIZED = (
    "FixScaleResize",
    "FixShapeResize",
    "ResizeShortestEdge",
    "CenterCrop",
    "RandomCrop",
    "RandomCenterCropPad",
    "RandomShift",
    "RandomAffine",
)
MIXING = ("Mosaic", "CachedMosaic", "MixUp", "CachedMixUp", "CutMix", "CopyPaste")
CHOOSING = ("RandomChoice", "AutoAugment", "RandAugment", "RandomApply", "RandomOrder")
# Steps of a model's data preprocessor that give a batch another size.
OF_BATCHES = ("BatchSyncRandomResize", "BatchFixedSizePad", "BatchResize")
# Networks that are used to images of a fixed size may need one that their strides divide.
DIVISOR = 32


def pipeline(steps: list[Step], images: Resizing, train: bool) -> list[Step]:
    """mmdet's pipeline with the track's sizes and flips.

    The track's resizing takes the place of the config's; if it has none, of the first step that
    gives way; if there is none either, it follows the steps that load.

    Args:
        steps: the pipeline; a type may be a name or an import path.
        images: the track's sizes and flips.
        train: whether it is for training.
    """
    place = _place(steps)
    resized: list[Step] = []
    for index, step in enumerate(steps):
        if index == place:
            resized.append(distort(images) if distorts(steps) else resize(images, train))
        if not gives_way(step):
            resized.append(flip(images) if short_name(step["type"]) == "RandomFlip" else dict(step))
        elif short_name(step["type"]) == "Pad":
            resized.append(_padding(step))
    return [_with_scale(step) for step in resized]


def _place(steps: list[Step]) -> int:
    """The index of the step before which, or in whose place, images are resized."""
    names = [short_name(step["type"]) for step in steps]
    for wanted in (
        [name in RESIZING for name in names],
        [gives_way(step) and short_name(step["type"]) != "Pad" for step in steps],
        [not name.startswith("Load") for name in names],
    ):
        if True in wanted:
            return wanted.index(True)
    return len(steps)


def gives_way(step: Step) -> bool:
    """Whether a step states pixels, mixes images, or chooses among steps of which one does."""
    name = short_name(step["type"])
    if name == "Pad":
        return step.get("size") is not None
    if name == "RandomCrop":
        return not step.get("crop_type", "absolute").startswith("relative")
    if name == "RandomCenterCropPad":  # to test, it only makes sides that the strides divide
        return not step.get("test_mode", False)
    if name in CHOOSING:
        return any(map(gives_way, _choices(step)))
    return name in RESIZING or name in SIZED or name in MIXING


def _choices(step: Step) -> Iterator[Step]:
    """The steps among which a step chooses."""
    groups = step.get("transforms") or step.get("policies") or step.get("aug_space") or []
    for group in [groups] if isinstance(groups, dict) else groups:
        yield from [group] if isinstance(group, dict) else group


def replaced(steps: list[Step]) -> list[str]:
    """The names of steps that give way and do more than resize."""
    names = (short_name(step["type"]) for step in steps if gives_way(step))
    return [name for name in names if name not in RESIZING]


def sized_augments(model: Any) -> list[str]:
    """The names of the steps of a model's data preprocessor that give a batch another size."""
    steps = (model.get("data_preprocessor") or {}).get("batch_augments") or ()
    return [name for step in steps if (name := short_name(step["type"])) in OF_BATCHES]


def drop_sized_augments(model: Any) -> None:
    """Remove them from the config of a model."""
    if sized_augments(model):
        images = model["data_preprocessor"]
        images["batch_augments"] = [
            step for step in images["batch_augments"] if short_name(step["type"]) not in OF_BATCHES
        ]


def _padding(step: Step) -> Step:
    """Padding to a size as padding to the next multiple."""
    return {key: value for key, value in step.items() if key != "size"} | {"size_divisor": DIVISOR}


def _with_scale(step: Step) -> Step:
    """A step that packs says by how much an image was resized, so that boxes can be scaled back."""
    keys = step.get("meta_keys")
    if short_name(step["type"]) != "PackDetInputs" or not keys or "scale_factor" in keys:
        return step
    return {**step, "meta_keys": (*keys, "scale_factor")}


def distorts(steps: list[Step]) -> bool:
    """Whether a pipeline makes all images the same size, whatever their aspect ratio.

    Detectors of fixed size, such as SSD, do; YOLACT needs it.
    """
    found = [step for step in steps if short_name(step["type"]) in RESIZING]
    return bool(found) and not any(step.get("keep_ratio", False) for step in found)


def distort(images: Resizing) -> Step:
    """Give each image the size in which images are tested."""
    return {"type": "Resize", "scale": images.test_scale, "keep_ratio": False}


def resize(images: Resizing, train: bool) -> Step:
    """Keep the aspect ratio; in training, draw the shortest side if the track lists several."""
    if train and images.train_short_sides:
        return {"type": "RandomChoiceResize", "scales": images.train_scales, "keep_ratio": True}
    return {"type": "Resize", "scale": images.test_scale, "keep_ratio": True}


def flip(images: Resizing) -> Step:
    """One of the track's directions, or none, with equal chances."""
    directions = images.flips
    chance = 1 / (len(directions) + 1)
    return {"type": "RandomFlip", "prob": [chance] * len(directions), "direction": directions}
