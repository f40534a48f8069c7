"""What anchors of another size change in the models of all detectors of the track coco."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from icd.new_track.anchors import Anchors

INFINITE = 100_000_000  # mmdet's last range has no end


def model_changes(anchors: Anchors) -> dict[str, Any]:
    """Changes to the models by the name of the detector; for COCO's anchors, of RetinaNet alone.

    The numbers are mmdet's for COCO, times the size of the anchors.
    """
    base, ratios = anchors.base, list(anchors.ratios)
    own = {"octave_base_scale": base, "ratios": ratios}
    retinanet = {"bbox_head": {"anchor_generator": own}}
    if anchors.default:
        return {"retinanet": retinanet}
    square = {"bbox_head": {"anchor_generator": {"octave_base_scale": 2 * base}}}
    points = {"bbox_head": {"regress_ranges": _ranges(base)}}
    proposals = {"anchor_generator": {"scales": [2 * base], "ratios": ratios}}
    extractor = {"finest_scale": 14 * base}
    boxes = {"bbox_roi_extractor": extractor}
    masks = {**boxes, "mask_roi_extractor": extractor}
    return {
        "retinanet": retinanet,
        "fcos": points,
        "atss": square,
        "gfl": square,
        "condinst": points,
        "faster-rcnn": {"rpn_head": proposals, "roi_head": boxes},
        "mask-rcnn": {"rpn_head": proposals, "roi_head": masks},
        "solov2": {"mask_head": {"scale_ranges": _grids(base)}},
    }


def _ranges(base: int) -> list[list[int]]:
    """The distances in pixels that FCOS learns on each level."""
    limits = [16 * base * 2**i for i in range(4)]
    return [[-1, limits[0]], *map(list, pairwise(limits)), [limits[-1], INFINITE]]


def _grids(base: int) -> list[list[int]]:
    """The sizes in pixels that SOLOv2 learns on each level."""
    middle = [[12 * base * 2**i, 48 * base * 2**i] for i in range(3)]
    return [[1, 24 * base], *middle, [96 * base, 512 * base]]
