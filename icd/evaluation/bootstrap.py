"""Bootstrap of COCO AP over test images. Detections are matched only once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

RECALLS = np.linspace(0, 1, 101)  # as in pycocotools' Params
REPLICATES = 200
SEED = 0  # the same resamples for every run, so differences between runs are paired


def multiplicities(images: int, replicates: int = REPLICATES) -> NDArray[np.int64]:
    """How often each replicate draws each image, with replacement.

    The result depends only on the number of images, so all runs on a split share their resamples.

    Returns:
        (replicates, images); each row sums to the number of images.
    """
    generator = np.random.default_rng(SEED)
    return generator.multinomial(images, np.full(images, 1 / images), size=replicates)


def bootstrap_ap(
    results: list[dict[str, Any]], images: Sequence[int], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """COCO's AP (all areas, 100 detections) with image ``i`` counted ``counts[:, i]`` times.

    Equals the result of pycocotools on a data set that repeats each image, in place, that often.

    Args:
        results: entries of a COCOeval's ``evalImgs`` for one area range, without None.
        images: ids of the I images, in the order that breaks ties between equal scores.
        counts: (B, I), for B replicates.

    Returns:
        (B,); NaN for replicates without ground truth.
    """
    by_class = class_replicates(results, images, counts)
    total, present = np.zeros(len(counts)), np.zeros(len(counts))
    for _, values in sorted(by_class.items()):
        total += np.nan_to_num(values)
        present += ~np.isnan(values)
    return np.divide(total, present, out=np.full(len(counts), np.nan), where=present > 0)


def class_replicates(
    results: list[dict[str, Any]], images: Sequence[int], counts: NDArray[np.int64]
) -> dict[int, NDArray[np.float64]]:
    """AP of each class, arguments as of :func:`bootstrap_ap`.

    Returns:
        (B,) by id of the class; NaN for replicates without an object of it.
    """
    if counts.shape[1] != len(images):
        raise ValueError(f"counts of {counts.shape[1]} images for {len(images)}")
    factors = counts.astype(np.int32)  # large enough for all sums, and twice as fast
    place, classes = {image: i for i, image in enumerate(images)}, defaultdict(list)
    for result in results:
        classes[result["category_id"]].append((place[result["image_id"]], result))
    found = {}
    for label, entries in classes.items():
        precision, objects = _class_ap(sorted(entries, key=itemgetter(0)), factors)
        found[label] = np.where(objects > 0, precision, np.nan)
    return found


def _class_ap(
    results: list[tuple[int, dict[str, Any]]], counts: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """AP of one class and the number of its objects, each (B,).

    Args:
        results: pairs of an image's index and its entry in ``evalImgs``.
        counts: (B, I).
    """
    order = np.argsort(
        -np.concatenate([result["dtScores"] for _, result in results]), kind="mergesort"
    )
    image = np.concatenate([np.full(len(result["dtScores"]), i) for i, result in results])[order]
    matched, ignored = (
        np.concatenate([result[name] for _, result in results], axis=1)[:, order].astype(bool)
        for name in ("dtMatches", "dtIgnore")
    )
    objects = np.zeros(len(counts), counts.dtype)
    for i, result in results:
        objects += counts[:, i] * np.count_nonzero(~np.array(result["gtIgnore"], bool))
    weights = counts[:, image.astype(int)]
    precision, seen = [], dict[bytes, NDArray[np.int32]]()
    for hit, skip in zip(matched, ignored, strict=True):  # over IoU thresholds
        key = skip.tobytes()  # usually equal for all thresholds, so the slow sum runs once
        if key not in seen:
            seen[key] = np.cumsum(weights * ~skip, axis=1, dtype=weights.dtype)
        hit &= ~skip
        precision.append(_interpolated(weights[:, hit], seen[key][:, hit], objects))
    return np.mean(precision, axis=0), objects


def _interpolated(
    hits: NDArray[np.int32], seen: NDArray[np.int32], objects: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Mean over COCO's recall levels of the best precision at this or a higher recall.

    Only hits matter, because recall is constant and precision falls between two hits.

    Args:
        hits: (B, H), how often each hit counts, by descending score.
        seen: (B, H), number of detections up to each hit.
        objects: (B,), number of objects.

    Returns:
        (B,)
    """
    hits = np.cumsum(hits, axis=1, dtype=hits.dtype)
    precision = hits / (seen + np.spacing(1))  # as pycocotools divides
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    best = np.pad(best, ((0, 0), (0, 1)))  # unreached recall has precision 0
    recall = hits / np.maximum(objects, 1)[:, None]
    return np.array(
        [
            curve[np.searchsorted(reached, RECALLS)].mean()
            for curve, reached in zip(best, recall, strict=True)
        ]
    )
