"""The splits of a track from the parts that a folder has, or drawn where there is only one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from icd.data.instances import instances
from icd.data.subset import choose
from icd.errors import InputError
from icd.experiments.splits import TEST, TRAIN, TUNE
from icd.new_track.merging import merged, same_classes
from icd.new_track.parts import VALIDATION, Found, Part

TUNE_SHARE, TEST_SHARE = 0.1, 0.2  # of the images, if splits are drawn
Splits = dict[str, Part]


def split(found: Found, seed: int) -> Splits:
    """The splits train, tune (if there are three) and test, with the same classes in each.

    Parts that have a use are taken as they are. If none is left to train or to test on, all parts
    together are split at random by image. Notes are added to ``found``.

    Args:
        found: the data.
        seed: of the random choice.

    Raises:
        InputError: fewer than three images have objects.
    """
    parts = _by_use(found)
    train, others = parts.get(TRAIN), [parts.get(VALIDATION), parts.get(TEST)]
    held_out = [part for part in others if part]
    if train and held_out:
        splits = dict(zip((TUNE, TEST) if held_out[1:] else (TEST,), held_out, strict=True))
        if len(held_out) == 1:
            found.notes.append(
                f"there is no third split, so {held_out[0].name} is for testing; what is chosen by"
                " its AP looks better than it is"
            )
        for part in (part for use, part in parts.items() if not use):
            found.notes.append(f"{part.name}: left out, because its name says no use")
        splits = {TRAIN: train, **splits}
    else:
        whole = merged([*parts.values()], found)
        splits = _drawn(whole, seed)
        shares = ", ".join(f"{name} {len(s.content['images']):,}" for name, s in splits.items())
        found.notes.append(
            f"there is only one split ({whole.name}), so its images are drawn for three with seed"
            f" {seed}: {shares}; frames of one video should not be in two splits"
        )
    return same_classes(splits, found)


def _by_use(found: Found) -> dict[str, Part]:
    """The parts with objects, one for each use."""
    groups: dict[str, list[Part]] = defaultdict(list)
    for part in found.parts:
        if part.objects:
            groups[part.use].append(part)
        else:
            found.notes.append(f"{part.name}: left out, because it has no object to learn")
    if not groups:
        raise InputError(found.parts[0].file or found.root, "", "holds no object", "at least one")
    parts = {use: _one(group, found) for use, group in groups.items()}
    for use in (VALIDATION, TEST):
        if TRAIN in parts and use in parts and parts[TRAIN].paths & parts[use].paths:
            shown = parts.pop(use)
            found.notes.append(
                f"{shown.name}: left out, because {parts[TRAIN].name} has its images"
            )
    return parts


def _one(group: Sequence[Part], found: Found) -> Part:
    """The parts of one use as one: all images, or of those that have the same, the best."""
    kept: list[Part] = []
    for part in sorted(group, key=lambda p: ("instances" not in p.name, -p.objects, p.name)):
        if same := next((other for other in kept if other.paths & part.paths), None):
            found.notes.append(f"{part.name}: left out, because {same.name} has its images")
        else:
            kept.append(part)
    return merged(sorted(kept, key=lambda part: part.name), found)


def _drawn(part: Part, seed: int) -> Splits:
    """The splits, with the same shares of the images with and without objects."""
    content = part.content
    every = [image["id"] for image in content["images"]]
    full = {annotation["image_id"] for annotation in instances(content)}
    if len(full) < 3:
        problem = f"has {len(full)} images with objects"
        expected = "three at least, one each to train, tune and test with"
        raise InputError(part.file or part.images, "images", problem, expected)
    ids: dict[str, set[int]] = {TRAIN: set(), TUNE: set(), TEST: set()}
    for group in ([i for i in every if i in full], [i for i in every if i not in full]):
        test = choose(group, TEST_SHARE, seed)
        rest = [i for i in group if i not in test]
        tune = choose(rest, TUNE_SHARE / (1 - TEST_SHARE), seed)
        for name, chosen in ((TEST, test), (TUNE, tune), (TRAIN, {*rest} - tune)):
            ids[name] |= chosen
    return {name: _of_images(part, name, chosen) for name, chosen in ids.items()}


def _of_images(part: Part, name: str, ids: set[int]) -> Part:
    """The images with these ids as a part of its own, which no file has yet."""
    content: dict[str, Any] = part.content | {
        "images": [image for image in part.content["images"] if image["id"] in ids],
        "annotations": [one for one in part.content["annotations"] if one["image_id"] in ids],
    }
    return replace(part, name=name, use=name, content=content, file=None)
