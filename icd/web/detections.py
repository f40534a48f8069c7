"""What runs detect in the images of the page, and what is right and wrong about it."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask
from pycocotools.coco import COCO

from icd.experiments.track import Track
from icd.figures.examples import examples, read_truth
from icd.figures.verdicts import Verdict, box_overlaps, verdicts
from icd.web.images import COUNT, box, class_indices
from icd.web.wanted import Evaluated

LEAST = 0.05  # score; the reader can raise the threshold from there
MOST = 50  # detections of an image
RUNS = 24
KINDS = ("right", "class", "place", "both", "duplicate", "background")

# x, y, width, height, score, index of the class, index of the kind, index of the object (-1: none)
# and IoU with it.
Detection = tuple[float, float, float, float, float, int, int, int, float]
Found = dict[str, dict[str, dict[str, list[list[Detection]]]]]  # by run, split, IoU type; by image


def gather(track: Track, wanted: Iterable[Evaluated]) -> dict[str, Any]:
    """Detections of runs in the images of their splits, with a verdict on each.

    Returns:
        ``kinds``, the names of verdicts; ``least``, the lowest score; ``images``, the ids of the
        images by split; ``runs``, a list of detections for each of these images.
    """
    truths: dict[str, Truth] = {}
    runs: Found = {}
    for one in wanted:
        if len(runs) == RUNS or not one.detections.is_file():
            continue
        if one.split not in truths:
            truths[one.split] = Truth(track, one.split)
        entries = json.loads(one.detections.read_text())
        found = truths[one.split].judged(entries, one.iou_type)
        runs.setdefault(one.run.id, {}).setdefault(one.split, {})[one.iou_type] = found
    images = {split: truth.images for split, truth in truths.items()}
    return {"kinds": KINDS, "least": LEAST, "images": images, "runs": runs}


class Truth:
    """The annotations of the page's images of a split."""

    def __init__(self, track: Track, split: str) -> None:
        content = read_truth(track, split)
        chosen = examples(track, content, split, COUNT)
        self.objects = {example.id: example.objects for example in chosen}
        self.indices = class_indices(content)
        self.coco = COCO()
        self.coco.dataset = content
        with contextlib.redirect_stdout(io.StringIO()):
            self.coco.createIndex()

    @property
    def images(self) -> list[int]:
        """Ids of the images in the page's order."""
        return list(self.objects)

    def judged(self, entries: Sequence[Mapping[str, Any]], iou_type: str) -> list[list[Detection]]:
        """The detections of each image, the highest score first."""
        by_image: dict[int, list[dict[str, Any]]] = {image: [] for image in self.objects}
        for entry in entries:
            if entry["image_id"] in by_image and entry["score"] >= LEAST:
                by_image[entry["image_id"]].append(dict(entry))
        return [self._of_image(image, own, iou_type) for image, own in by_image.items()]

    def _of_image(
        self, image: int, guesses: list[dict[str, Any]], iou_type: str
    ) -> list[Detection]:
        guesses.sort(key=lambda guess: -guess["score"])
        del guesses[MOST:]
        objects = self.objects[image]
        if iou_type == "segm":
            overlaps = self._mask_overlaps(guesses, objects)
            for guess in guesses:
                guess["bbox"] = mask.toBbox(guess["segmentation"]).tolist()
        else:
            overlaps = box_overlaps(guesses, objects)
        judged = verdicts(guesses, objects, overlaps)
        return [self._entry(one, own) for one, own in zip(guesses, judged, strict=True)]

    def _mask_overlaps(
        self, guesses: Sequence[Mapping[str, Any]], objects: Sequence[Mapping[str, Any]]
    ) -> NDArray[np.float64]:
        """IoU of masks; an object without a mask overlaps nothing."""
        found = np.zeros((len(guesses), len(objects)))
        masks = [guess["segmentation"] for guess in guesses]
        for j, thing in enumerate(objects):
            if masks and thing.get("segmentation"):
                found[:, [j]] = mask.iou(masks, [self.coco.annToRLE(thing)], [0])
        return found

    def _entry(self, guess: Mapping[str, Any], verdict: Verdict) -> Detection:
        target = -1 if verdict.target is None else verdict.target
        score = round(float(guess["score"]), 3)
        label, kind = self.indices[guess["category_id"]], KINDS.index(verdict.kind)
        return (*box(guess["bbox"]), score, label, kind, target, round(verdict.overlap, 2))
