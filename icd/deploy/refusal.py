"""Which detectors can be exported, and why others cannot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmcv.ops import RoIAlign
from mmdet.models import SingleStageDetector, TwoStageDetector
from mmdet.models.dense_heads import GFLHead, RPNHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder, DistancePointBBoxCoder

EXPORTED = "RetinaNet, FCOS, ATSS, GFL, Faster R-CNN, Mask R-CNN or one that predicts like them"
NMS_OPTIONS = {"type", "iou_threshold", "class_agnostic", "split_thr"}


def refusal(detector: Any) -> str | None:
    """Why a detector cannot be exported, as the rest of a sentence about it; None if it can.

    A graph repeats what mmdet computes from the outputs of the networks. It does so for detectors
    that take their predictions from the methods of mmdet that the graph repeats, whatever their
    backbones, necks and losses are.
    """
    return next(_reasons(detector), None)


def _reasons(detector: Any) -> Iterator[str]:
    if _shares(detector, SingleStageDetector, "predict", "extract_feat"):
        yield from _of_dense_head(detector.bbox_head, (BaseDenseHead, GFLHead))
    elif _shares(detector, TwoStageDetector, "predict", "extract_feat"):
        yield from _of_dense_head(detector.rpn_head, (RPNHead,))
        yield from _of_region_head(detector.roi_head)
    else:
        yield f"{_name(detector)} predicts in a way of its own"


def _of_dense_head(head: Any, kinds: tuple[type, ...]) -> Iterator[str]:
    methods = ("predict", "predict_by_feat", "_bbox_post_process")
    if not (
        _shares(head, BaseDenseHead, "predict", "predict_by_feat")
        and any(_shares(head, kind, "_predict_by_feat_single", methods[2]) for kind in kinds)
    ):
        yield f"{_name(head)} chooses its boxes in a way of its own"
        return
    if not head.use_sigmoid_cls or getattr(head.loss_cls, "custom_cls_channels", False):
        yield f"{_name(head)} has no sigmoid for each class"
    yield from _of_coder(head)
    config = head.test_cfg
    if config.get("nms_pre", -1) <= 0:
        yield "nms_pre in its test_cfg does not bound the number of candidates"
    if config.get("min_bbox_size", 0) > 0 and not isinstance(head, RPNHead):
        yield "min_bbox_size in its test_cfg counts pixels of the original image"
    yield from _of_suppression(config)


def _of_region_head(head: Any) -> Iterator[str]:
    methods = ("predict", "predict_bbox", "_bbox_forward", "predict_mask", "_mask_forward")
    if not _shares(head, StandardRoIHead, *methods):
        yield f"{_name(head)} is not the head of Faster R-CNN or Mask R-CNN"
        return
    box_head = head.bbox_head
    if head.with_shared_head or not (box_head.with_reg and box_head.with_cls):
        yield f"{_name(head)} has a shared head, or none for classes or boxes"
    if not _shares(box_head, BBoxHead, "predict_by_feat", "_predict_by_feat_single"):
        yield f"{_name(box_head)} chooses its boxes in a way of its own"
    if box_head.custom_cls_channels:
        yield f"{_name(box_head)} has no softmax over the classes"
    yield from _of_coder(box_head)
    yield from _of_suppression(head.test_cfg)
    extractors = [head.bbox_roi_extractor]
    if head.with_mask:
        extractors.append(head.mask_roi_extractor)
        if not _shares(head.mask_head, FCNMaskHead, "predict_by_feat", "_predict_by_feat_single"):
            yield f"{_name(head.mask_head)} is not the mask head of Mask R-CNN"
    for extractor in extractors:
        averages = all(
            isinstance(layer, RoIAlign) and layer.pool_mode == "avg"
            for layer in extractor.roi_layers
        )
        if not (_shares(extractor, SingleRoIExtractor, "forward") and averages):
            yield f"{_name(extractor)} is not RoIAlign on one level for each region"


def _of_coder(head: Any) -> Iterator[str]:
    if type(head.bbox_coder) not in (DeltaXYWHBBoxCoder, DistancePointBBoxCoder):
        yield f"{_name(head.bbox_coder)} encodes its boxes"


def _of_suppression(config: Any) -> Iterator[str]:
    nms = config.nms
    if nms.get("type", "nms") != "nms" or nms.keys() - NMS_OPTIONS:
        yield f"ONNX has no operator for its non-maximum suppression {dict(nms)}"
    if config.get("max_per_img", -1) <= 0:
        yield "max_per_img in its test_cfg does not bound the number of detections"


def _shares(part: Any, kind: type, *methods: str) -> bool:
    """Whether an object's methods are those of a class of mmdet."""
    return isinstance(part, kind) and all(
        getattr(type(part), name) is getattr(kind, name) for name in methods
    )


def _name(part: Any) -> str:
    return type(part).__name__
