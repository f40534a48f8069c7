"""The text of a new track's YAML file: each value with a comment that says what it follows from."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from icd.experiments.splits import TRAIN
from icd.new_track.anchors import COCO_BASE, Anchors
from icd.new_track.facts import Facts
from icd.new_track.head_sizes import model_changes
from icd.new_track.parts import Part
from icd.new_track.placing import Placed
from icd.new_track.settings import BATCH, Images, Queries, Training

WIDTH = 100
PLAIN = r"\.|[A-Za-z/][A-Za-z0-9_./-]*"  # texts that YAML needs no quotes for, unless they are
WORDS = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
LARGE = 100_000  # images with which the teacher trains as long as COCO's


@dataclass(frozen=True)
class Derived:
    """All settings that follow from the data."""

    facts: Facts
    images: Images
    anchors: Anchors
    training: Training
    queries: Queries
    mirrored: bool


def track_text(
    name: str, title: str, origin: str, placed: Placed, splits: Mapping[str, Part], derived: Derived
) -> str:
    """The content of the file.

    Args:
        name, title: of the track.
        origin: where the data come from, in words.
        placed: files of the splits.
        splits: their content.
        derived: settings.
    """
    lines = [
        *comment(
            f"Written by `icd new-track` for {origin}. Comments say what a value follows from;"
            " change what you know better. All other values are those of workflow/tracks/coco.yaml."
        ),
        "extends: coco",
        f"name: {name}",
        f"title: {flow(title)}",
        *_data(placed, splits),
        *_images(derived),
        *_detectors(derived),
        *_recipe(derived, len(splits[TRAIN].content["images"])),
        *_roles(len(splits[TRAIN].content["images"])),
        *_methods(derived),
        "seeds: [0, 1, 2]  # not from the data: three trainings per row give usable intervals",
        *_machine(derived.training),
    ]
    return "\n".join(lines) + "\n"


def comment(text: str, indent: str = "") -> list[str]:
    """A text as lines of comment."""
    prefix = f"{indent}# "
    return textwrap.wrap(text, WIDTH, initial_indent=prefix, subsequent_indent=prefix)


def flow(value: Any) -> str:
    """Plain data as YAML on one line. Only texts that need quotes have some."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str) and re.fullmatch(PLAIN, value) and value.lower() not in WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _data(placed: Placed, splits: Mapping[str, Part]) -> Iterator[str]:
    yield "data:"
    root = str(placed.root).replace("$", "$$")  # a single one starts the name of a variable
    yield f"  root: {flow(root)}"
    yield "  splits:"
    for use, split in placed.splits.items():
        part = splits[use]
        yield f"    # {len(part.content['images']):,} images, {part.objects:,} objects"
        yield f"    {use}: {flow(split.stated())}"


def _images(derived: Derived) -> Iterator[str]:
    images, facts = derived.images, derived.facts
    width, height = (sorted(side)[len(side) // 2] for side in facts.images.T)
    yield "images:"
    after = images.smallest * images.factor
    text = (
        f"From image and object sizes: images are about {width:g} x {height:g}, and a tenth of the"
        f" objects is smaller than {images.smallest:.0f} x {images.smallest:.0f} pixels, which"
        f" become {after:.0f}. The longest side has room for 90 % of the aspect ratios."
    )
    if images.factor < 0.95:
        text += " Images are reduced to the pixels of COCO's; if small objects matter, cut tiles."
    yield from comment(text, "  ")
    yield f"  scale: {flow([images.longest, images.shortest])}"
    yield "  # 80 to 100 % of the shortest side, as for COCO"
    yield f"  train_short_sides: {flow(images.short_sides)}"
    if derived.mirrored:
        yield "  flips: [horizontal]  # no class is called left or right"
    else:
        yield "  flips: []  # a class is called left or right, so images are not mirrored"


def _detectors(derived: Derived) -> Iterator[str]:
    anchors, changes = derived.anchors, model_changes(derived.anchors)
    yield "detectors:"
    text = (
        f"From object sizes after resizing: {_percent(anchors.covered)} of the objects overlap an"
        " anchor by half or more"
    )
    text += "" if anchors.default else f" ({_percent(anchors.coco)} with those of COCO)"
    text += "; these are COCO's." if anchors.default else "."
    if anchors.base != COCO_BASE:
        text += " Ranges of sizes of the other heads change by the same factor."
    yield from comment(text, "  ")
    with_masks = ("condinst", "mask-rcnn", "solov2")
    for name, model in changes.items():
        if derived.facts.masks or name not in with_masks:
            yield f"  {name}: {flow({'model': model})}"
    if not derived.facts.masks:
        yield "  # not all objects have masks"
        yield from (f"  {name}: null" for name in with_masks)


def _recipe(derived: Derived, number: int) -> Iterator[str]:
    training = derived.training
    yield "recipe:"
    text = (
        f"From the {number:,} training images: 1x are {training.epochs:.0f} epochs. COCO has 12,"
        " and each tenth of its images doubles them."
    )
    yield from comment(text, "  ")
    yield f"  unit: {training.unit}"
    text = "COCO's 16 images per iteration."
    if training.batch < BATCH:
        text = "So that an epoch has 100 iterations, but at least 4 images; COCO has 16."
    yield f"  # {text} The learning rate follows."
    yield f"  batch_size: {training.batch}"
    yield f"  ramp: {training.ramp}  # learning-rate warm-up: a tenth of the schedule, at most 500"


def _roles(number: int) -> Iterator[str]:
    schedule = "3x" if number >= LARGE else "2x"
    why = "as for COCO" if number >= LARGE else f"more would mostly overfit {number:,} images"
    yield "roles:"
    text = "Backbones are the paper's, not from the data; resnet50 and resnet18 take less time."
    yield from comment(text, "  ")
    yield f"  teacher: {{backbone: resnet101, schedule: {schedule}, seed: 0}}  # {why}"
    yield "  student: {detector: retinanet, backbone: resnet50, schedule: 1x}"


def _methods(derived: Derived) -> Iterator[str]:
    queries, training = derived.queries, derived.training
    yield "methods:"
    yield "  icd:"
    yield "    options:"
    text = (
        f"From objects per image: 99 % of the images have {queries.objects} or fewer, each with"
        " five fakes; 300 at most."
    )
    yield from comment(text, "      ")
    yield f"      query_cap: {queries.cap}"
    limits = ", ".join(map(str, queries.limits))
    text = f"From object sizes after resizing: limits at {limits} pixels divide them most evenly."
    yield from comment(text, "      ")
    yield f"      scale_offset: {queries.offset}"
    text = "in which the decoder learns before it teaches: a tenth of the schedule, at most 1,000"
    yield from comment(f"Iterations {text}.", "      ")
    yield f"      warmup: {training.warmup}"


def _machine(training: Training) -> Iterator[str]:
    yield "machine:"
    text = (
        "Assumed from the time that COCO's track assumes, by pixels and batch;"
        " `icd rehearse` measures it."
    )
    yield from comment(text, "  ")
    yield f"  seconds_per_iteration: {training.seconds}"
    yield f"  checkpoint_every: {training.checkpoint_every}"
