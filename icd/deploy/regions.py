"""The second stage of Faster R-CNN and Mask R-CNN, for a whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from icd.deploy.dense import candidates, clipped
from icd.deploy.suppression import EXCLUDED, Candidates, suppressed


def proposals(head: Any, levels: Sequence[Tensor], sizes: Tensor) -> Candidates:
    """The best regions [B, P] of an RPN; the last may be EXCLUDED."""
    found, config = candidates(head, levels, sizes), head.test_cfg
    return suppressed(found, found.labels, config.nms.iou_threshold, config.max_per_img)


def region_candidates(
    head: Any, levels: Sequence[Tensor], regions: Candidates, sizes: Tensor
) -> Candidates:
    """A box for each of P regions and C classes, which mmdet hands to non-maximum suppression.

    Args:
        head: a StandardRoIHead of mmdet.
        levels: the pyramid, [B, c, h, w] each.
        regions: of :func:`proposals`.
        sizes: [B, 2], height and width of each image without its padding.

    Returns:
        P * C candidates of each image.
    """
    box_head, (batch, count) = head.bbox_head, regions.scores.shape
    features = region_features(head.bbox_roi_extractor, levels, rois_of(regions.boxes))
    logits, code = (part.float() for part in box_head(features.to(levels[0].dtype)))
    boxes = box_head.bbox_coder.decode(regions.boxes.flatten(0, 1), code)
    boxes = boxes.reshape(batch, count, -1, 4)  # one box for all classes, or one for each
    scores = logits.softmax(-1)[:, :-1].reshape(batch, count, -1)  # the last is the background
    valid = (scores > head.test_cfg.score_thr) & (regions.scores > EXCLUDED)[..., None]
    labels = torch.arange(scores.shape[2]).expand_as(scores)
    boxes = boxes.expand(-1, -1, scores.shape[2], -1).flatten(1, 2)
    boxes = clipped(boxes, sizes) if box_head.bbox_coder.clip_border else boxes
    scores = torch.where(valid, scores, EXCLUDED)
    return Candidates(boxes, scores.flatten(1), labels.flatten(1))


def masks(head: Any, levels: Sequence[Tensor], found: Candidates) -> Tensor:
    """Probabilities [B, K, m, m] of each mask, on a grid over its box; 0 if EXCLUDED."""
    batch, count = found.scores.shape
    own = (found.scores.flatten() > EXCLUDED).nonzero()[:, 0]
    features = region_features(head.mask_roi_extractor, levels, rois_of(found.boxes)[own])
    logits = head.mask_head(features.to(levels[0].dtype)).float()
    if not head.mask_head.class_agnostic:
        label = found.labels.flatten()[own][:, None, None, None]
        logits = logits.gather(1, label.expand(-1, -1, *logits.shape[2:]))
    grid = logits.new_zeros((batch * count, *logits.shape[2:]))
    return grid.index_put((own,), logits[:, 0].sigmoid()).unflatten(0, (batch, count))


def rois_of(boxes: Tensor) -> Tensor:
    """Boxes [B, P, 4] as [B * P, 5], the index of the image before each."""
    image = torch.arange(boxes.shape[0]).to(boxes)[:, None, None].expand(-1, boxes.shape[1], -1)
    return torch.cat([image, boxes], 2).flatten(0, 1)


def region_features(extractor: Any, levels: Sequence[Tensor], rois: Tensor) -> Tensor:
    """What mmdet's SingleRoIExtractor gives, [R, C, s, s] float32, with torchvision's RoIAlign.

    Args:
        extractor: the SingleRoIExtractor.
        levels: the pyramid, [B, C, h, w] each.
        rois: [R, 5], index of the image and x1 y1 x2 y2.
    """
    levels = levels[: extractor.num_inputs]
    level_of = extractor.map_roi_levels(rois, len(levels))
    size = extractor.roi_layers[0].output_size
    features = rois.new_zeros((rois.shape[0], levels[0].shape[1], *size))
    for i, (level, layer) in enumerate(zip(levels, extractor.roi_layers, strict=True)):
        own = (level_of == i).nonzero()[:, 0]
        sampling = (layer.spatial_scale, *size, layer.sampling_ratio, layer.aligned)
        pooled = torch.ops.torchvision.roi_align(level.float(), rois[own], *sampling)
        features = features.index_put((own,), pooled)
    return features
