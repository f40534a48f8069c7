"""Precision-recall curves of evaluated runs, from COCO's matches of their detections."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from icd.evaluation.breakdown import LAST, SIZES
from icd.evaluation.coco import Evaluator, match, summary
from icd.experiments.track import Track
from icd.files import sha256
from icd.web.wanted import Evaluated

ALL_SIZES = 0  # index among COCO's area ranges
THRESHOLDS = {"0.50": 0, "0.75": 5}  # index among COCO's IoU thresholds
AVERAGED = "0.50:0.95"  # the mean over all thresholds
SCALE = 65535  # precisions are stored as 16-bit integers


class Curves(TypedDict):
    """The curves of a run on a split.

    AP: as a fraction; None without ground truth. The mean of the first curve.
    names: of the curves: IoU thresholds, then sizes at the mean over thresholds.
    curves: base64 of uint16 [curves, 101 recalls], low byte first; 65535 is a precision of 1.
    classes: base64 of uint16 [2, 101] by class: mean over thresholds, and at 0.50.
    inputs: sha256 of the detections and of the annotations.
    """

    AP: float | None
    names: list[str]
    curves: str
    classes: dict[str, str]
    inputs: list[str]


Found = dict[str, dict[str, dict[str, Curves]]]  # by run, split and IoU type


def gather(track: Track, wanted: Sequence[Evaluated], known: Mapping[str, Any]) -> Found:
    """The curves of the evaluated runs whose detections are there.

    Args:
        track: whose annotations they are compared with.
        wanted: runs on splits.
        known: what this function returned before; equal detections are not matched again.
    """
    found: Found = {}
    annotations = {split: track.annotations(split) for split in {one.split for one in wanted}}
    hashes = {split: sha256(file) for split, file in annotations.items()}
    for one in wanted:
        if not one.detections.is_file():
            continue
        inputs = [sha256(one.detections), hashes[one.split]]
        curves = known.get(one.run.id, {}).get(one.split, {}).get(one.iou_type, {})
        if curves.get("inputs") != inputs:
            evaluator = track.machine.evaluator
            matched = match(annotations[one.split], one.detections, one.iou_type, evaluator)
            curves = of_matches(matched, inputs)
        found.setdefault(one.run.id, {}).setdefault(one.split, {})[one.iou_type] = curves
    return found


def of_matches(matched: Evaluator, inputs: list[str]) -> Curves:
    """The curves of matched detections."""
    ap = summary(matched)["AP"]
    accumulated: Any = matched.eval
    precision = np.asarray(accumulated["precision"])[..., LAST]  # [thresholds, 101, classes, sizes]
    curves = dict(_curves(precision))
    names = {entry["id"]: entry["name"] for entry in matched.cocoGt.dataset["categories"]}
    classes = {
        names[label]: encoded(np.stack([mean, own[0]]))
        for i, label in enumerate(matched.params.catIds)
        if (own := precision[:, :, i, ALL_SIZES]).max() > -1
        for mean in [own.mean(axis=0)]
    }
    return Curves(
        AP=ap,
        names=list(curves),
        curves=encoded(np.stack(list(curves.values()))) if curves else "",
        classes=classes,
        inputs=inputs,
    )


def _curves(precision: NDArray[np.float64]) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Mean precision (101,) over the classes with ground truth, by name."""
    everything = precision[..., ALL_SIZES]
    if everything.max() > -1:
        yield AVERAGED, over_classes(everything)
        for name, i in THRESHOLDS.items():
            yield name, over_classes(everything[i : i + 1])
    for name, i in SIZES.items():
        if precision[..., i].max() > -1:
            yield name, over_classes(precision[..., i])


def over_classes(precision: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean (101,) of precisions (thresholds, 101, classes); -1 marks classes without objects."""
    there = precision.max(axis=(0, 1)) > -1
    mean: NDArray[np.float64] = precision[:, :, there].mean(axis=(0, 2))
    return mean


def encoded(values: NDArray[np.float64]) -> str:
    """Values from 0 to 1 as base64 of uint16."""
    return base64.b64encode(np.round(values * SCALE).astype("<u2").tobytes()).decode()


def decoded(text: str) -> NDArray[np.float64]:
    """The inverse of :func:`encoded`, flat."""
    return np.frombuffer(base64.b64decode(text), "<u2") / SCALE
