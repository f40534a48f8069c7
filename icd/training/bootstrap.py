"""What COCO AP would be on other test images: a bootstrap over images, without matching anew."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pycocotools.cocoeval import COCOeval

REPLICATES = 200
SEED = 0  # the same draws for every run, so that differences between runs are paired


def multiplicities(images: int, replicates: int = REPLICATES) -> NDArray[np.int64]:
    """How often each image is drawn, with replacement, in each replicate.

    A function of the number of images alone: runs on one split get the same draws.

    Returns:
        (replicates, images); each line adds up to the number of images.
    """
    generator = np.random.default_rng(SEED)
    return generator.multinomial(images, np.full(images, 1 / images), size=replicates)


def bootstrap_ap(evaluator: COCOeval, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """COCO's AP (all areas, 100 detections) with image ``i`` counted ``counts[:, i]`` times.

    Equal to pycocotools on a data set that holds each image, next to itself, as often.

    Args:
        evaluator: after its ``evaluate()``.
        counts: (B, I), images in the order of ``evaluator.params.imgIds``.

    Returns:
        (B,); NaN where no ground truth was drawn.
    """
    images, areas = len(evaluator.params.imgIds), len(evaluator.params.areaRng)
    if counts.shape[1] != images:
        raise ValueError(f"counts of {counts.shape[1]} images for {images}")
    total, classes = np.zeros(len(counts)), np.zeros(len(counts))
    # evalImgs runs over classes, areas (the first is all of them) and images, these fastest.
    for start in range(0, len(evaluator.evalImgs), areas * images):
        found = [
            (image, result)
            for image, result in enumerate(evaluator.evalImgs[start : start + images])
            if result is not None
        ]
        if found:
            precision, objects = _class_ap(found, counts, evaluator.params.recThrs)
            total += np.where(objects > 0, precision, 0)
            classes += objects > 0
    return np.divide(total, classes, out=np.full(len(counts), np.nan), where=classes > 0)


def _class_ap(
    found: list[tuple[int, dict]], counts: NDArray, recalls: NDArray
) -> tuple[NDArray, NDArray]:
    """AP of one class and the number of its objects, each (B,)."""
    order = np.argsort(
        -np.concatenate([result["dtScores"] for _, result in found]), kind="mergesort"
    )
    image = np.concatenate([np.full(len(result["dtScores"]), i) for i, result in found])[order]
    matched, ignored = (
        np.concatenate([result[name] for _, result in found], axis=1)[:, order].astype(bool)
        for name in ("dtMatches", "dtIgnore")
    )
    objects = sum(counts[:, i] * np.count_nonzero(r["gtIgnore"] == 0) for i, r in found)
    weights = counts[:, image.astype(int)]
    precision = [
        _interpolated(weights, hit & ~skip, ~skip, objects, recalls)
        for hit, skip in zip(matched, ignored, strict=True)
    ]
    return np.mean(precision, axis=0), objects


def _interpolated(
    weights: NDArray, hit: NDArray, counted: NDArray, objects: NDArray, recalls: NDArray
) -> NDArray:
    """Mean over the recall levels of the best precision at this recall or a higher one.

    Only hits are looked at: between two of them recall stands still and precision falls.

    Args:
        weights: (B, D) of the detections of a class, by falling score.
        hit: (D,) true where an object was found at the IoU threshold.
        counted: (D,) false for detections that COCO leaves out.
        objects: (B,) number of objects.
        recalls: (R,) levels, rising.

    Returns:
        (B,)
    """
    hits = np.cumsum(weights[:, hit], axis=1)
    seen = np.cumsum(weights * counted, axis=1)[:, hit]
    precision = hits / (seen + np.spacing(1))  # as pycocotools divides
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    best = np.pad(best, ((0, 0), (0, 1)))  # recall that is not reached has precision 0
    recall = hits / np.maximum(objects, 1)[:, None]
    return np.array(
        [
            curve[np.searchsorted(reached, recalls)].mean()
            for curve, reached in zip(best, recall, strict=True)
        ]
    )
