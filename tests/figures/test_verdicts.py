"""Verdicts on single detections add up to what TIDE counts, which hotcoco computes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hotcoco import COCO

from icd.figures.measure_errors import tide
from icd.figures.verdicts import Verdict, box_overlaps, verdicts

NAMES = {
    "Cls": "class",
    "Loc": "place",
    "Both": "both",
    "Dupe": "duplicate",
    "Bkg": "background",
}
IMAGES, CLASSES = 40, 3


def random_truth(random: np.random.Generator) -> list[dict[str, Any]]:
    objects: list[dict[str, Any]] = []
    for image in range(IMAGES):
        for _ in range(random.integers(0, 5)):
            box = [*random.uniform(0, 60, 2), *random.uniform(10, 40, 2)]
            label = int(random.integers(1, CLASSES + 1))
            entry = {"id": len(objects) + 1, "image_id": image, "category_id": label, "iscrowd": 0}
            objects.append(
                entry | {"bbox": [float(v) for v in box], "area": float(box[2] * box[3])}
            )
    return objects


def random_guesses(
    objects: list[dict[str, Any]], random: np.random.Generator
) -> list[dict[str, Any]]:
    guesses = []
    for thing in objects:
        for _ in range(random.integers(0, 4)):
            box = np.array(thing["bbox"]) + random.normal(0, random.choice([1, 6, 15]), 4)
            box[2:] = box[2:].clip(2)
            label = thing["category_id"] if random.random() < 0.7 else random.integers(1, 4)
            entry = {"image_id": thing["image_id"], "category_id": int(label)}
            guesses.append(entry | {"bbox": box.tolist(), "score": float(random.random())})
    return guesses


@pytest.mark.parametrize("seed", range(4))
def test_they_are_the_errors_that_tide_counts(seed: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed)
    objects = random_truth(random)
    guesses = random_guesses(objects, random)
    truth = {
        "images": [
            {"id": i, "width": 100, "height": 100, "file_name": f"{i}.png"} for i in range(IMAGES)
        ],
        "annotations": objects,
        "categories": [{"id": i, "name": str(i)} for i in range(1, CLASSES + 1)],
    }
    (tmp_path / "found.json").write_text(json.dumps(guesses))
    expected = tide(COCO(truth), tmp_path / "found.json", "bbox")["counts"]
    counts: Counter[str] = Counter()
    for image in range(IMAGES):
        mine, things = (
            [entry for entry in entries if entry["image_id"] == image]
            for entries in (guesses, objects)
        )
        found = verdicts(mine, things, box_overlaps(mine, things))
        counts.update(one.kind for one in found)
        meant = {one.target for one in found if one.kind in ("right", "class", "place")}
        counts["missed"] += len({*range(len(things))} - meant)
    assert {name: counts[NAMES[name]] for name in NAMES} == {name: expected[name] for name in NAMES}
    assert counts["missed"] == expected["Miss"]
    assert all(counts[name] for name in (*NAMES.values(), "right", "missed"))


def test_a_verdict_does_not_depend_on_lower_scores() -> None:
    """So a threshold can be raised without judging again."""
    random = np.random.default_rng(0)
    objects = [thing | {"image_id": 0} for thing in random_truth(random)[:8]]
    guesses = sorted(random_guesses(objects, random), key=lambda guess: -guess["score"])
    every = verdicts(guesses, objects, box_overlaps(guesses, objects))
    first = guesses[: len(guesses) // 2]
    assert verdicts(first, objects, box_overlaps(first, objects)) == every[: len(first)]


def test_without_objects_all_is_background() -> None:
    guess = {"bbox": [0, 0, 5, 5], "score": 0.5, "category_id": 1}
    assert verdicts([guess], [], box_overlaps([guess], [])) == [Verdict("background", None, 0.0)]
