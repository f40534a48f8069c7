"""What a head predicts at every place of the pyramid, for a whole batch and without branches.

mmdet predicts image by image and drops candidates as it goes, so the shapes of its tensors depend
on their values. A graph needs shapes that do not: here a candidate below the threshold keeps its
place and loses its score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import GFLHead, RPNHead
from torch import Tensor

from icd.deploy.suppression import EXCLUDED, Candidates

NOTHING = -1.0e4  # logit where a level has fewer candidates than wanted


def candidates(head: Any, levels: Sequence[Tensor], sizes: Tensor) -> Candidates:
    """The best candidates of each level, as mmdet hands them to non-maximum suppression.

    Args:
        head: a dense head or RPN of mmdet that :func:`icd.deploy.refusal.refusal` accepts.
        levels: the pyramid, [B, C, h, w] each.
        sizes: [B, 2], height and width of each image without its padding.

    Returns:
        ``nms_pre`` candidates of each level; if sizes are fixed, fewer where a level has fewer.
        Labels are classes, or levels if the head is an RPN, which suppresses within levels.
    """
    config = head.test_cfg
    logits, codes, *quality = ([level.float() for level in part] for part in head(tuple(levels)))
    cells = [level.shape[-2:] for level in logits]
    priors = head.prior_generator.grid_priors(cells, torch.float32, logits[0].device)
    best, place = best_of_levels([rows(one, head.cls_out_channels) for one in logits], config)
    prior, scores = torch.cat(place, 1) // head.cls_out_channels, torch.cat(best, 1).sigmoid()
    valid, labels = scores > config.get("score_thr", 0), torch.cat(place, 1) % head.cls_out_channels
    level_of = [i for i, kept in enumerate(best) for _ in range(kept.shape[1])]
    if isinstance(head, RPNHead):
        valid = torch.cat(best, 1) > NOTHING
        labels = torch.tensor(level_of).expand_as(labels)
    if quality:
        scores = scores * chosen([rows(one, 1) for one in quality[0]], prior)[..., 0].sigmoid()
    code = chosen([rows(one, code_size(head)) for one in codes], prior)
    strides = [float(head.prior_generator.strides[i][0]) for i in level_of]
    boxes = decoded(head, torch.cat(list(priors))[prior], code, strides)
    boxes = clipped(boxes, sizes) if head.bbox_coder.clip_border else boxes
    if config.get("min_bbox_size", -1) >= 0:
        extent = boxes[..., 2:] - boxes[..., :2]
        valid = valid & (extent > config.min_bbox_size).all(-1)
    return Candidates(boxes, torch.where(valid, scores, EXCLUDED), labels)


def rows(level: Tensor, width: int) -> Tensor:
    """The predictions [B, P * width, h, w] of a level as [B, h * w * P, width]."""
    return level.permute(0, 2, 3, 1).reshape(level.shape[0], -1, width)


def best_of_levels(levels: Sequence[Tensor], config: Any) -> tuple[list[Tensor], list[Tensor]]:
    """Logits and places of the ``nms_pre`` best candidates of each level.

    Args:
        levels: [B, n, C] logits.
        config: has ``nms_pre``.

    Returns:
        By level, logits [B, k] and places [B, k] in all levels one after the other; NOTHING where
        the level has fewer candidates than k.
    """
    best, places, start = [], [], 0
    for level in levels:
        number: Any = level.shape[1] * level.shape[2]  # a symbol if image sizes are dynamic
        wanted = config.nms_pre
        logits = level.flatten(1)
        if isinstance(number, int):
            wanted = min(wanted, number)
        else:
            logits = torch.cat([logits, logits.new_full((level.shape[0], wanted), NOTHING)], 1)
        value, place = logits.topk(wanted)
        best.append(value)
        places.append(place.clamp(max=number - 1) + start)
        start = start + number
    return best, places


def chosen(levels: Sequence[Tensor], places: Tensor) -> Tensor:
    """The rows [B, M, width] at ``places`` [B, M] of all levels [B, n, width] together."""
    together = torch.cat(list(levels), 1)
    return together.gather(1, places[..., None].expand(-1, -1, together.shape[-1]))


def code_size(head: Any) -> int:
    """How many numbers of a head describe one box."""
    if isinstance(head, GFLHead):
        return 4 * (head.reg_max + 1)
    return int(head.bbox_coder.encode_size)


def decoded(head: Any, priors: Tensor, code: Tensor, strides: Sequence[float]) -> Tensor:
    """Boxes [B, M, 4] in pixels.

    Args:
        head: whose predictions they are.
        priors: [B, M, 4] anchors or [B, M, 2] points.
        code: [B, M, n].
        strides: of the level of each of the M candidates.
    """
    batch = code.shape[0]
    priors, code = priors.flatten(0, 1), code.flatten(0, 1)
    if isinstance(head, GFLHead):
        distances = head.integral(code).reshape(batch, -1, 4) * code.new_tensor(strides)[:, None]
        priors, code = head.anchor_center(priors), distances.flatten(0, 1)
    return head.bbox_coder.decode(priors, code).reshape(batch, -1, 4)


def clipped(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes [B, M, 4] within their images of sizes [B, 2] (height, width)."""
    limits = sizes.to(boxes).flip(1).repeat(1, 2)
    return boxes.clamp(min=0).minimum(limits[:, None])
