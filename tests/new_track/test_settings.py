"""Settings follow from the data as their comments say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from icd.experiments.track import load_track
from icd.methods.icd.queries import QueryEncoder
from icd.methods.icd.sampling import query_count
from icd.new_track import anchors
from icd.new_track.facts import facts_of
from icd.new_track.head_sizes import model_changes
from icd.new_track.settings import (
    Images,
    has_sides,
    image_settings,
    query_settings,
    training_settings,
)

LIKE_COCO = Images(1333, 800, [800], 1.0, 20.0)


def made(
    side: float, image: tuple[int, int] = (640, 480), objects: int = 4, spread: float = 0.5
) -> dict[str, Any]:
    """50 images with square objects whose sides are log-normal around a median."""
    draws = np.random.default_rng(0).normal(0, spread, (50, objects))
    sides = (side * np.exp(draws)).clip(2, min(image) / 1.01)
    annotations = [
        {"image_id": i, "category_id": 1, "bbox": [0, 0, s, s], "area": s * s, "iscrowd": 0}
        for i, own in enumerate(sides)
        for s in own
    ]
    images = [{"id": i, "width": image[0], "height": image[1]} for i in range(50)]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "a"}]}


@pytest.mark.parametrize(
    ("side", "image", "expected"),
    [
        (200, (640, 480), 480),  # large objects: as they are
        (20, (640, 480), 800),  # small ones: enlarged like COCO
        (45, (640, 480), 480 * 32 / (45 * np.exp(-0.5 * 1.2816))),  # the smallest tenth become 32
        (20, (64, 64), 96),
    ],
)
def test_images_are_enlarged_for_small_objects(
    side: float, image: tuple[int, int], expected: float
) -> None:
    settings = image_settings(facts_of(made(side, image)))
    assert settings.shortest == pytest.approx(expected, abs=32)
    assert settings.longest / settings.shortest == pytest.approx(image[0] / image[1], abs=0.25)
    assert settings.short_sides[-1] == settings.shortest
    assert settings.short_sides[0] == pytest.approx(0.8 * settings.shortest, abs=4)


def test_large_images_are_reduced_to_as_many_pixels_as_coco_has() -> None:
    settings = image_settings(facts_of(made(300, (4000, 3000))))
    assert settings.longest * settings.shortest == pytest.approx(1333 * 800, rel=0.05)
    assert settings.factor == pytest.approx(settings.shortest / 3000)


@pytest.mark.parametrize("name", ["coco", "coco-10"])
def test_the_schedule_is_that_of_the_tracks_with_so_many_images(name: str) -> None:
    images = {"coco": 118_287, "coco-10": 11_829}[name]
    recipe = load_track(name, {"coco": "coco"}).content.recipe
    found = training_settings(images, LIKE_COCO)
    assert found.batch == recipe.batch_size
    assert found.unit == pytest.approx(recipe.unit, rel=0.02)
    assert found.ramp == 500
    assert found.warmup == 1000


def test_few_images_have_small_batches_and_short_warm_ups() -> None:
    found = training_settings(200, LIKE_COCO)
    assert found.batch == 4
    assert found.epochs == pytest.approx(12 * 2 ** np.log10(118_287 / 200), rel=0.05)
    assert found.ramp == found.warmup == found.unit // 10


@pytest.mark.parametrize("objects", [1, 7, 40])
def test_the_cap_leaves_room_for_the_fakes(objects: int) -> None:
    facts = facts_of(made(60, objects=objects))
    cap = query_settings(facts, LIKE_COCO).cap
    assert cap <= 300
    assert query_count(objects, 5.0, cap) == min(6 * objects, 300)


@pytest.mark.parametrize("side", [12, 100, 300])
def test_bins_of_sizes_divide_the_objects_as_icd_sees_them(side: float) -> None:
    """Against the bins of ICD's own encoder."""
    facts = facts_of(made(side, (800, 800), objects=20, spread=1.0))
    found = query_settings(facts, Images(800, 800, [800], 1.0, side))
    sizes = torch.tensor(facts.objects)
    shares = []
    for offset in range(8):
        octave = 1.44 * sizes.log() - QueryEncoder(1, 8, float(offset)).scale_offset
        bins = octave.clamp(0, 4).floor().long().flatten().bincount(minlength=5) / (2 * len(sizes))
        shares.append(float(torch.special.entr(bins).sum()))
    assert shares[int(found.offset)] >= max(shares) - 0.02
    assert found.limits[0] == 2 ** (found.offset + 1)


@pytest.mark.parametrize(("side", "base"), [(10, 1), (20, 2), (100, 4), (700, 4)])
def test_anchors_fit_the_objects(side: int, base: int) -> None:
    sizes = np.full((10, 2), float(side))
    found = anchors.choose(sizes)
    assert (found.base, found.covered) == (base, 1.0)
    assert found.default == (base == 4)


def test_long_objects_get_long_anchors() -> None:
    found = anchors.choose(np.tile([[400.0, 60.0], [60.0, 400.0]], (5, 1)))
    assert found.ratios == anchors.WIDE_RATIOS
    assert found.covered == 1.0 > found.coco


def test_the_covered_share_is_that_of_boxes_on_a_grid() -> None:
    """Against torchvision's IoU of an object and all anchors around it."""
    random = np.random.default_rng(3)
    objects = np.exp(random.uniform(2, 6.5, (60, 2)))
    best = np.zeros(len(objects))
    for stride in anchors.STRIDES:
        for octave in anchors.OCTAVES:
            for ratio in anchors.COCO_RATIOS:
                w, h = (4 * stride * 2**octave * factor for factor in (ratio**-0.5, ratio**0.5))
                d = stride / 4
                anchor = torch.tensor([[d - w / 2, d - h / 2, d + w / 2, d + h / 2]])
                corners = torch.tensor(np.hstack([-objects / 2, objects / 2]))
                best = np.maximum(best, box_iou(corners, anchor.double())[:, 0].numpy())
    # A box that lies within the other has the same overlap wherever its centre is.
    assert anchors.covered(objects, 4, anchors.COCO_RATIOS) == (best >= 0.5).mean()


def test_coco_s_anchors_change_nothing_but_what_they_state() -> None:
    found = anchors.Anchors(4, (0.5, 1.0, 2.0), 0.9, 0.9)
    assert model_changes(found).keys() == {"retinanet"}


def test_ranges_of_sizes_follow_the_anchors() -> None:
    """Twice COCO's base doubles the numbers of mmdet's configs."""
    changes = model_changes(anchors.Anchors(8, (0.5, 1.0, 2.0), 0.9, 0.8))
    ranges = changes["fcos"]["bbox_head"]["regress_ranges"]
    assert ranges == [[-1, 128], [128, 256], [256, 512], [512, 1024], [1024, 10**8]]
    assert changes["solov2"]["mask_head"]["scale_ranges"][1:3] == [[96, 384], [192, 768]]
    assert changes["atss"]["bbox_head"]["anchor_generator"]["octave_base_scale"] == 16
    assert changes["faster-rcnn"]["rpn_head"]["anchor_generator"]["scales"] == [16]
    assert changes["faster-rcnn"]["roi_head"]["bbox_roi_extractor"]["finest_scale"] == 112


@pytest.mark.parametrize(
    ("name", "expected"), [("left_hand", True), ("Turn right", True), ("bright", False)]
)
def test_classes_that_tell_sides_are_noticed(name: str, expected: bool) -> None:
    content = made(50)
    content["categories"][0]["name"] = name
    assert has_sides(facts_of(content)) == expected
