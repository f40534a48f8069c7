"""Tiny detectors whose decoders answer queries, in pairs of a student and a teacher."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from torch import Tensor, nn

from icd.methods.query_predictions import QueryPredictions
from icd.training.pyramid import CommonLevels
from icd.training.query_heads import QueryHeads
from icd.training.teacher import Teacher
from tests.lab import shipped

CLASSES = 5
LEVELS = CommonLevels([8, 16, 32, 64], [*range(4)], [*range(4)])
CONFIGS = {
    "deformable": "deformable_detr/deformable-detr_r50_16xb2-50e_coco.py",
    "refined": "deformable_detr/deformable-detr-refine_r50_16xb2-50e_coco.py",
    "two-stage": "deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco.py",
    "dino": "dino/dino-4scale_r50_8xb2-12e_coco.py",
}
BACKBONE = {
    "backbone": {"depth": 18, "base_channels": 8, "init_cfg": None},
    "neck": {"in_channels": [16, 32, 64]},
}
WIDTHS = {"two-stage": 256}  # mmdet embeds its proposals in this width alone


def changes(kind: str, layers: int = 2, queries: int = 7) -> dict[str, Any]:
    """What makes a model of mmdet's tiny, all but its backbone.

    It has no dropout, so that it answers in training as in evaluation.
    """
    width = WIDTHS.get(kind, 16)
    attention = {"embed_dims": width, "num_heads": 4, "dropout": 0.0}
    layer = {
        "self_attn_cfg": attention,
        "ffn_cfg": {"embed_dims": width, "feedforward_channels": 32, "ffn_drop": 0.0},
    }
    return {
        "num_queries": queries,
        "neck": {"out_channels": width, "norm_cfg": {"num_groups": 4}},
        "encoder": {"num_layers": 1, "layer_cfg": layer},
        "decoder": {"num_layers": layers, "layer_cfg": {**layer, "cross_attn_cfg": attention}},
        "positional_encoding": {"num_feats": width // 2},
        "bbox_head": {"embed_dims": width},
        "test_cfg": {"max_per_img": queries},
    }


def config(kind: str, classes: int = CLASSES, **sizes: int) -> dict[str, Any]:
    """The config of a model. ``sizes``: arguments of :func:`changes`."""
    found = copy.deepcopy(shipped(f"mmdet::{CONFIGS[kind]}"))
    found.merge_from_dict({"model": changes(kind, **sizes)})
    found.merge_from_dict({"model": {**BACKBONE, "bbox_head": {"num_classes": classes}}})
    return found.model.to_dict()


def built(kind: str, seed: int, **sizes: int) -> Any:
    """A detector with weights of its own, whose answers differ from query to query."""
    torch.manual_seed(seed)
    model = MODELS.build(config(kind, **sizes))
    nn.init.normal_(model.level_embed)  # mmdet leaves it to `init_weights`, which is slow
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model


@dataclass
class Pair:
    """Student and teacher, with a batch of images as both see it."""

    student: Any
    teacher: Any
    images: Tensor
    samples: list[Any]

    def heads(self) -> QueryHeads:
        return QueryHeads(self.student, Teacher(self.teacher), LEVELS)

    def predictions(self) -> tuple[dict[str, Any], QueryPredictions]:
        """The student's own losses, and what a method receives."""
        heads = self.heads()
        with heads.watch() as seen:
            losses = self.student(self.images, self.samples, mode="loss")
        pyramid = Teacher(self.teacher).features(self.images)
        return losses, heads.read(seen, pyramid, self.samples)


def batch() -> dict[str, Any]:
    """Two images of unequal sizes, as the data loader gives them."""
    return demo_mm_inputs(2, [(3, 64, 96), (3, 56, 64)], num_items=[3, 1], num_classes=CLASSES)


def pair(kind: str, same: bool = False, **teacher: int) -> Pair:
    """A student in training and its teacher on images of unequal sizes.

    Args:
        kind: one of the configs.
        same: whether the teacher is a copy of the student.
        teacher: what differs in the config of the teacher.
    """
    student = built(kind, seed=1)
    other = copy.deepcopy(student) if same else built(kind, seed=2, **teacher)
    ready = student.data_preprocessor(batch(), training=True)
    return Pair(student.train(), other.eval(), ready["inputs"], ready["data_samples"])
