"""Detectors that take seconds to export: three convolutions as backbone and random weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor, nn

from icd.training.checkpoint import write_weights
from icd.training.config import plain_config
from tests.lab import Lab

DENSE = ("retinanet", "fcos", "atss", "gfl")
NAMES = (*DENSE, "faster-rcnn", "mask-rcnn")
WIDTH = 8
SIDE = 64  # pixels of images, as those of the lab
SIZES = torch.tensor([[60, 64], [64, 51]])  # of two images before padding
# Layers whose random weights let the detectors find something: spread of weights, and bias.
LAST = {
    **dict.fromkeys(("retina_cls", "conv_cls", "atss_cls", "gfl_cls", "rpn_cls"), (0.5, -1.0)),
    **dict.fromkeys(("retina_reg", "conv_reg", "atss_reg", "gfl_reg", "rpn_reg"), (0.1, 0.1)),
    "fc_cls": (0.7, 0.0),
    "fc_reg": (0.5, 0.0),
    "conv_logits": (1.0, 0.0),
}


@MODELS.register_module()
class Convolutions(nn.Module):
    """Levels of strides 4, 8, ... with WIDTH channels each."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, 7, 4, 3)
        self.rest = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 3, 2, 1) for _ in range(levels - 1))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        levels = [self.stem(images).relu()]
        for layer in self.rest:
            levels.append(layer(levels[-1]).relu())
        return tuple(levels)


def small(config: Config, levels: int = 2) -> Config:
    """A plain config of mini with a backbone of convolutions and few levels."""
    model = copy.deepcopy(config.model)
    first = 0 if "rpn_head" in model else 1  # the first level of two-stage detectors has stride 4
    model.backbone = {"type": "Convolutions", "levels": first + levels}
    model.neck.update(in_channels=[WIDTH] * (first + levels), out_channels=WIDTH, num_outs=levels)
    strides = [4 * 2 ** (first + i) for i in range(levels)]
    for head in (model.get("bbox_head"), model.get("rpn_head")):
        if head is not None:
            _narrow(head, strides)
    if "roi_head" in model:
        _narrow_second_stage(model.roi_head, strides)
    small = Config({**config.to_dict(), "model": model.to_dict()})
    for step in small.test_dataloader.dataset.pipeline:
        if step["type"] == "Resize":
            step["scale"] = (SIDE, SIDE)
    return small


def _narrow(head: Any, strides: list[int]) -> None:
    head.update(in_channels=WIDTH, feat_channels=WIDTH)
    if "stacked_convs" in head:
        head.update(stacked_convs=1, norm_cfg=None)
    if "anchor_generator" in head:
        head.anchor_generator.strides = strides
    if head.type == "FCOSHead":
        head.update(strides=strides, regress_ranges=head.regress_ranges[: len(strides)])


def _narrow_second_stage(head: Any, strides: list[int]) -> None:
    extractors = [head.bbox_roi_extractor]
    head.bbox_head.update(
        in_channels=WIDTH, conv_out_channels=WIDTH, fc_out_channels=16, norm_cfg=None
    )
    if "mask_head" in head:
        extractors.append(head.mask_roi_extractor)
        head.mask_head.update(in_channels=WIDTH, conv_out_channels=WIDTH, norm_cfg=None)
    for extractor in extractors:
        extractor.update(out_channels=WIDTH, featmap_strides=strides)


def wild(detector: Any) -> Any:
    """Random weights, the same in each call, with which a detector finds something."""
    generator = torch.Generator().manual_seed(0)
    for name, module in detector.named_modules():
        kind = name.rpartition(".")[2]
        if kind in LAST and isinstance(module, nn.Conv2d | nn.Linear):
            spread, bias = LAST[kind]
            shape = module.weight.shape
            module.weight.data = spread * torch.randn(shape, generator=generator)
            assert module.bias is not None
            module.bias.data.fill_(bias)
    return detector.eval()


def place(lab: Lab, name: str) -> Path:
    """The folder of a run of mini with a small, untrained detector."""
    run = lab.run(detector=name)
    config, folder = small(plain_config(run, lab.inputs)), lab.folder(run)
    init_default_scope("mmdet")
    torch.manual_seed(0)
    detector = wild(MODELS.build(config.model))
    lab.write_description(run)
    write_weights(folder / "model.pth", detector, dataset_meta={})
    (folder / "model.py").write_text(config.pretty_text)
    return folder


def batch(images: int = 2) -> tuple[Tensor, Tensor]:
    """Images [B, 3, 64, 64] of noise, padded with zeros, and their sizes."""
    pixels = torch.randn(images, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    for image, (height, width) in zip(pixels, SIZES.tolist(), strict=False):
        image[:, height:], image[:, :, width:] = 0, 0
    return pixels, SIZES[:images]


def predicted(detector: Any, images: Tensor, sizes: Tensor) -> list[InstanceData]:
    """What mmdet predicts, in pixels of the batch."""
    padded = tuple(images.shape[2:])
    samples = []
    for size in map(tuple, sizes.tolist()):
        shapes = {"img_shape": size, "ori_shape": size, "scale_factor": (1.0, 1.0)}
        samples.append(DetDataSample(metainfo=shapes | {"batch_input_shape": padded}))
    with torch.no_grad():
        found = detector.predict(images, samples, rescale=False)
    return [sample.pred_instances for sample in found]
