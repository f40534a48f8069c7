"""A detector of mmdet as one function of tensors, which torch.onnx can write as a graph."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models import TwoStageDetector
from torch import Tensor, nn

from icd.deploy.dense import candidates
from icd.deploy.regions import masks, proposals, region_candidates
from icd.deploy.suppression import Candidates, suppressed

NO_LABEL = -1  # where an image has fewer detections than the output has places


class Graph(nn.Module):
    """Predicts as mmdet's ``detector.predict(rescale=False)`` does, for a whole batch.

    Args:
        detector: a detector that :func:`icd.deploy.refusal.refusal` accepts. It is changed: set to
            evaluation and, for ``half``, converted.
        nms: whether non-maximum suppression is part of the graph.
        half: compute the networks in float16. Boxes and scores stay float32.
    """

    def __init__(self, detector: Any, nms: bool = True, half: bool = False) -> None:
        super().__init__()
        self.nms, self.dtype = nms, torch.float16 if half else torch.float32
        self.detector = detector.eval().requires_grad_(False).to(self.dtype)

    @property
    def outputs(self) -> list[str]:
        """Names of what forward returns."""
        return ["boxes", "scores", "labels", *["masks"] * self.detector.with_mask]

    @property
    def head(self) -> Any:
        """The head that predicts classes."""
        return self.detector.roi_head if self.is_two_stage else self.detector.bbox_head

    @property
    def is_two_stage(self) -> bool:
        return isinstance(self.detector, TwoStageDetector)

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        """Detections of a batch, or without suppression all candidates.

        Args:
            images: [B, 3, H, W] float32, normalised and padded.
            sizes: [B, 2] int64, height and width of each image without its padding.

        Returns:
            Boxes [B, K, 4] (x1 y1 x2 y2 in pixels of ``images``), scores [B, K] and labels [B, K];
            where there is none, zeros and label -1. Detections come with the best first, candidates
            in no order. Of a detector with masks, also the probabilities [B, K, m, m] of each
            detection's mask, on a grid over its box.
        """
        levels = self.detector.extract_feat(images.to(self.dtype))
        found = self.found(levels, sizes)
        if self.nms:
            config = self.head.test_cfg
            groups = None if config.nms.get("class_agnostic", False) else found.labels
            found = suppressed(found, groups, config.nms.iou_threshold, config.max_per_img)
        if self.detector.with_mask:
            return *blanked(found), masks(self.head, levels, found)
        return blanked(found)

    def found(self, levels: tuple[Tensor, ...], sizes: Tensor) -> Candidates:
        """All that suppression chooses from."""
        if not self.is_two_stage:
            return candidates(self.head, levels, sizes)
        regions = proposals(self.detector.rpn_head, levels, sizes)
        return region_candidates(self.head, levels, regions, sizes)


def blanked(found: Candidates) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, scores and labels, with zeros and NO_LABEL for those that are excluded."""
    there = found.scores >= 0
    boxes = torch.where(there[..., None], found.boxes, 0.0)
    return boxes, found.scores.clamp(min=0), torch.where(there, found.labels, NO_LABEL)
