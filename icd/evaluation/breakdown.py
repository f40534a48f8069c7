"""AP of each class and object size, and all AP under resampled images, of the same matches."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from icd.evaluation.bootstrap import bootstrap_ap, class_replicates, multiplicities
from icd.evaluation.coco import Evaluator, per_image, uncollected

SIZES = {"small": 1, "medium": 2, "large": 3}  # index among COCO's area ranges
LAST = -1  # of the limits of detections per image: 100

Part: TypeAlias = dict[str, Any]  # AP, None without ground truth; bootstrap, likewise for each


@uncollected()
def resampled(matched: Evaluator) -> tuple[list[float | None], dict[str, dict[str, Part]]]:
    """AP under each resample of the test images, in all and in parts.

    Args:
        matched: matches that :func:`icd.evaluation.coco.summary` has accumulated.

    Returns:
        AP of each resample, None for those without ground truth, and the parts: by ``class`` and
        ``size`` and their names, AP (equal to pycocotools' to the last digit) and its resamples.
    """
    accumulated: Any = matched.eval
    images, precision = matched.params.imgIds, np.asarray(accumulated["precision"])
    counts, matches = multiplicities(len(images)), per_image(matched)
    by_class = class_replicates(matches, images, counts)
    absent = np.full(len(counts), np.nan)
    names = {entry["id"]: entry["name"] for entry in matched.cocoGt.dataset["categories"]}
    classes = {
        names[label]: _part(precision[:, :, i, 0, LAST], by_class.get(label, absent))
        for i, label in enumerate(matched.params.catIds)
    }
    sizes = {
        name: _part(
            precision[:, :, :, area, LAST],
            bootstrap_ap(per_image(matched, area), images, counts),
        )
        for name, area in SIZES.items()
    }
    return _listed(bootstrap_ap(matches, images, counts)), {"class": classes, "size": sizes}


def _part(precision: NDArray[np.float64], replicates: NDArray[np.float64]) -> Part:
    """A part from its precision at each IoU threshold and recall level; -1 is no ground truth."""
    known = precision[precision > -1]
    return {
        "AP": float(np.mean(known)) if known.size else None,
        # A millionth is far below what 200 replicates can tell.
        "bootstrap": _listed(np.round(replicates, 6)),
    }


def _listed(values: NDArray[np.float64]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]
