"""What is right and what is wrong about each detection of an image, as TIDE counts it.

Bolya et al., ECCV 2020. ``icd.figures.measure_errors`` has the totals of a whole split; this module
says it of single detections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask

Kind = Literal["right", "class", "place", "both", "duplicate", "background"]
RIGHT, NEAR = 0.5, 0.1  # IoU from which a place is right, and below which there is no object


class Verdict(NamedTuple):
    """What a detection is.

    kind: right; wrong class; badly localised (``place``); both of them; a duplicate; or background.
    target: index of the object that it concerns; None for background.
    overlap: IoU with this object, or the largest with any.
    """

    kind: Kind
    target: int | None
    overlap: float


def verdicts(
    guesses: Sequence[Mapping[str, Any]],
    objects: Sequence[Mapping[str, Any]],
    overlaps: NDArray[np.float64],
) -> list[Verdict]:
    """The verdict on each detection of an image.

    In the order of their scores, each takes the free object of its class that it overlaps most.
    What is said of a detection therefore does not depend on those with lower scores.

    Args:
        guesses: detections with ``score`` and ``category_id``.
        objects: annotations with ``category_id``, without crowds.
        overlaps: IoU of each detection with each object.
    """
    found: dict[int, Verdict] = {}
    free = np.ones(len(objects), bool)
    classes = np.array([thing["category_id"] for thing in objects], int)
    order = sorted(range(len(guesses)), key=lambda i: -guesses[i]["score"])
    for i in order:
        same = classes == guesses[i]["category_id"]
        fits = np.flatnonzero(free & same & (overlaps[i] >= RIGHT))
        if len(fits):
            target = int(fits[np.argmax(overlaps[i][fits])])
            free[target] = False
            found[i] = Verdict("right", target, float(overlaps[i][target]))
        else:
            found[i] = error(overlaps[i], same)
    return [found[i] for i in range(len(guesses))]


def box_overlaps(
    guesses: Sequence[Mapping[str, Any]], objects: Sequence[Mapping[str, Any]]
) -> NDArray[np.float64]:
    """IoU of each detection's ``bbox`` with each object's, [detections, objects]."""
    if not guesses or not objects:
        return np.zeros((len(guesses), len(objects)))
    boxes = ([entry["bbox"] for entry in entries] for entries in (guesses, objects))
    return np.asarray(mask.iou(*boxes, [0] * len(objects)))


def error(overlap: NDArray[np.float64], same: NDArray[np.bool_]) -> Verdict:
    """Why a detection matches no free object.

    Args:
        overlap: IoU with each object.
        same: which objects have its class.
    """
    best = {
        kind: max(((float(overlap[j]), int(j)) for j in np.flatnonzero(of_kind)), default=(0.0, -1))
        for kind, of_kind in (("same", same), ("other", ~same))
    }
    (own, mine), (other, another) = best["same"], best["other"]
    if NEAR <= own < RIGHT:
        return Verdict("place", mine, own)
    if other >= RIGHT:
        return Verdict("class", another, other)
    if own >= RIGHT:
        return Verdict("duplicate", mine, own)
    if other >= NEAR:
        return Verdict("both", another, other)
    return Verdict("background", None, max(own, other))
