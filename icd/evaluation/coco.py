"""COCO metrics of a file of detections, and their bootstrap over images.

Two libraries can match detections to the ground truth. ``hotcoco`` is the default, because it is
fast and TIDE needs it anyway. On 5,000 images with 100 detections each, it takes 1 s of CPU time,
``faster-coco-eval`` 9 s and ``pycocotools`` 55 s (masks: 1.5, 23 and 64 s). ``pycocotools`` is the
reference. Precision and recall of both are bitwise equal.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import hotcoco
from pycocotools import coco, cocoeval

from icd.data.annotations import complete
from icd.data.truth import ground_truth
from icd.experiments.machine import EVALUATORS

# The order of COCOeval.stats: average precision, then average recall.
NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")

Evaluator: TypeAlias = hotcoco.COCOeval | cocoeval.COCOeval
LIBRARIES = {
    "hotcoco": (hotcoco.COCO, hotcoco.COCOeval),
    "pycocotools": (coco.COCO, cocoeval.COCOeval),
}


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Disable garbage collection, which would scan millions of numbers repeatedly."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def coco_metrics(
    annotations: Path, detections: Path, kind: str, evaluator: str = EVALUATORS[0]
) -> dict[str, float | None]:
    """The twelve COCO metrics of a file of detections, unrounded.

    Without detections, a metric is 0. Without ground truth (COCOeval's -1), it is None.

    Args:
        annotations: COCO annotation file.
        detections: COCO result file.
        kind: bbox or segm.
        evaluator: key of :data:`LIBRARIES`.
    """
    return summary(match(annotations, detections, kind, evaluator))


@uncollected()
def match(
    annotations: Path, detections: Path, kind: str, evaluator: str = EVALUATORS[0]
) -> Evaluator:
    """Match detections to the ground truth, image by image; arguments as of coco_metrics."""
    make_coco, make_evaluator = LIBRARIES[evaluator]
    content, entries = (json.loads(file.read_text()) for file in (annotations, detections))
    complete(content)
    if kind == "segm":  # the size of a mask is its own area, as in mmdet, not its box's area
        entries = [{key: entry[key] for key in entry if key != "bbox"} for entry in entries]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = make_coco()
        truth.dataset = ground_truth(content)
        truth.createIndex()
        matched = make_evaluator(truth, truth.loadRes(entries) if entries else make_coco(), kind)
        matched.params.imgIds = sorted(truth.getImgIds())
        matched.evaluate()
    return matched


def summary(matched: Evaluator) -> dict[str, float | None]:
    """The twelve metrics of matched detections.

    pycocotools always computes the means over classes and thresholds, because another order of
    summation would change the last digit.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        matched.accumulate()
        means = cocoeval.COCOeval(iouType=matched.params.iouType)
        means.eval = matched.eval
        means.summarize()
    values = {name: float(value) for name, value in zip(NAMES, means.stats, strict=True)}
    return {name: None if value == -1 else value for name, value in values.items()}


def per_image(matched: Evaluator, area: int = 0) -> list[dict[str, Any]]:
    """The matches by class and image (``evalImgs``) for one of COCO's area ranges.

    Args:
        area: index of the range; 0 contains all sizes.
    """
    again = type(matched)(matched.cocoGt, matched.cocoDt, matched.params.iouType)
    again.params.imgIds = matched.params.imgIds
    again.params.areaRng = matched.params.areaRng[area : area + 1]
    again.params.areaRngLbl = matched.params.areaRngLbl[area : area + 1]
    with contextlib.redirect_stdout(io.StringIO()):
        again.evaluate()
    return [result for result in again.evalImgs if result is not None]
