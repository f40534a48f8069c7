"""AP of resampled images, against pycocotools on data sets that repeat images accordingly."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from icd.evaluation.bootstrap import (
    REPLICATES,
    bootstrap_ap,
    class_replicates,
    multiplicities,
)
from icd.evaluation.coco import per_image

IMAGES, CLASSES = 12, [1, 3, 7]


def scene(rng: np.random.Generator, image: int) -> tuple[list[dict], list[dict]]:
    """Objects of an image, one in ten a crowd, and what a mediocre detector makes of them."""
    truth, found = [], []
    for _ in range(rng.integers(0, 5)):
        box = np.concatenate([rng.uniform(0, 80, 2), rng.uniform(5, 40, 2)])
        label, crowd = int(rng.choice(CLASSES)), int(rng.random() < 0.1)
        truth.append(
            {"image_id": image, "category_id": label, "bbox": box.tolist(), "iscrowd": crowd}
            | {"area": float(box[2] * box[3])}
        )
        for _ in range(rng.integers(0, 4)):
            guess = (box * rng.normal(1, 0.06, 4)).tolist()
            other = label if rng.random() < 0.8 else int(rng.choice(CLASSES))
            found.append({"image_id": image, "category_id": other, "bbox": guess})
    scores = rng.permutation(np.linspace(0.1, 0.9, 12))  # equal in several images, not in one
    return truth, [guess | {"score": float(s)} for guess, s in zip(found, scores, strict=False)]


@pytest.fixture(scope="module")
def scenes() -> list[tuple[list[dict], list[dict]]]:
    rng = np.random.default_rng(5)
    return [scene(rng, image) for image in range(IMAGES)]


def evaluated(scenes: list[tuple[list[dict], list[dict]]], counts: Any) -> COCOeval:
    """pycocotools after matching, on a data set with image i ``counts[i]`` times, side by side."""
    images: list[dict] = []
    truth: list[dict] = []
    found: list[dict] = []
    for i, times in enumerate(counts):
        for _ in range(times):
            number = len(images) + 1
            images.append({"id": number, "width": 128, "height": 128})
            truth += [entry | {"image_id": number} for entry in scenes[i][0]]
            found += [entry | {"image_id": number} for entry in scenes[i][1]]
    coco = COCO()
    truth = [entry | {"id": i} for i, entry in enumerate(truth, 1)]
    categories = [{"id": label, "name": str(label)} for label in CLASSES]
    coco.dataset = {"images": images, "annotations": truth, "categories": categories}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluator = COCOeval(coco, coco.loadRes(found) if found else COCO(), "bbox")
        evaluator.params.imgIds = coco.getImgIds()
        evaluator.evaluate()
    return evaluator


def resampled_ap(evaluator: COCOeval, counts: NDArray) -> NDArray:
    return bootstrap_ap(per_image(evaluator), evaluator.params.imgIds, counts)


def reference_ap(evaluator: COCOeval) -> float:
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats[0]


def test_each_image_once_is_the_ap_of_pycocotools(scenes):
    evaluator = evaluated(scenes, np.ones(IMAGES, int))
    (ap,) = resampled_ap(evaluator, np.ones((1, IMAGES), int))
    assert ap == pytest.approx(reference_ap(evaluator), rel=0, abs=1e-12)
    assert 0.1 < ap < 0.9


def test_a_resample_is_the_ap_of_the_duplicated_data_set(scenes):
    evaluator = evaluated(scenes, np.ones(IMAGES, int))
    counts = multiplicities(IMAGES, 30)
    found = resampled_ap(evaluator, counts)
    expected = [reference_ap(evaluated(scenes, line)) for line in counts]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert np.ptp(expected) > 0.05


def test_resamples_of_a_class_and_a_size_are_those_of_the_duplicated_data_set(scenes):
    evaluator = evaluated(scenes, np.ones(IMAGES, int))
    counts, images = multiplicities(IMAGES, 10), evaluator.params.imgIds
    by_class = class_replicates(per_image(evaluator), images, counts)
    small = bootstrap_ap(per_image(evaluator, 1), images, counts)
    for i, line in enumerate(counts):
        repeated = evaluated(scenes, line)
        reference_ap(repeated)
        assert repeated.stats[3] == pytest.approx(np.nan_to_num(small[i], nan=-1), abs=1e-12)
        for k, label in enumerate(CLASSES):
            precision = repeated.eval["precision"][:, :, k, 0, -1]
            assert precision.mean() == pytest.approx(
                np.nan_to_num(by_class[label][i], nan=-1), abs=1e-12
            )
    assert len({values.tobytes() for values in by_class.values()}) == len(CLASSES)


def test_classes_that_are_not_drawn_are_left_out(scenes):
    evaluator = evaluated(scenes, np.ones(IMAGES, int))
    counts = np.eye(IMAGES, dtype=int)
    found = resampled_ap(evaluator, counts)
    for value, line in zip(found, counts, strict=True):
        expected = reference_ap(evaluated(scenes, line))
        assert value == pytest.approx(expected, abs=1e-12) or (expected == -1 and np.isnan(value))
    assert np.isnan(found).any()
    assert not np.isnan(found).all()


def test_no_detection_scores_zero(scenes):
    evaluator = evaluated([(truth, []) for truth, _ in scenes], np.ones(IMAGES, int))
    assert set(resampled_ap(evaluator, multiplicities(IMAGES, 5))) == {0.0}


def test_draws_are_those_of_a_bootstrap():
    counts = multiplicities(500)
    assert counts.shape == (REPLICATES, 500)
    assert (counts.sum(axis=1) == 500).all()
    # Drawn with replacement: an image is left out with probability (1 - 1 / 500) ** 500.
    assert np.mean(counts == 0) == pytest.approx((1 - 1 / 500) ** 500, abs=0.005)
    assert counts.mean(axis=0) == pytest.approx(1, abs=0.4)


def test_draws_are_the_same_for_every_run():
    assert (multiplicities(40) == multiplicities(40)).all()
    assert len({line.tobytes() for line in multiplicities(40)}) == REPLICATES


def test_counts_of_other_images_are_refused(scenes):
    with pytest.raises(ValueError, match=f"counts of 3 images for {IMAGES}"):
        resampled_ap(evaluated(scenes, np.ones(IMAGES, int)), np.ones((1, 3), int))
