"""The words for settings say all that a config says, and are true of what is built from it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.hub import get_config
from torch.nn.modules.batchnorm import _BatchNorm

from icd.experiments.track import load_track
from icd.training.config import plain_config
from icd.training.settings import WARM_UPS, mmdet_settings, track_settings
from tests.lab import Lab

COCO = load_track("coco", {"coco": "coco"}).content
FCOS = COCO.detectors["fcos"].config


def numbers(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all numbers in nested dictionaries and lists."""
    if isinstance(tree, dict | list | tuple):
        for key, part in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from numbers(part, (*path, key))
    elif isinstance(tree, int | float) and not isinstance(tree, bool):
        yield path


def with_one_more(tree: Any, path: tuple[Any, ...]) -> Any:
    """A copy in which the number at a path is greater by 1."""
    tree = copy.deepcopy(tree)
    branch = tree
    for key in path[:-1]:
        branch = branch[key]
    branch[path[-1]] += 1
    return tree


@pytest.mark.parametrize("name", COCO.detectors)
def test_no_number_of_mmdets_recipe_gets_lost(name: str) -> None:
    """Whichever one changes, the words change: so each is seen in the table and in the log."""
    config = get_config(f"mmdet::{COCO.detectors[name].config}").to_dict()
    before = mmdet_settings(Config(config))
    recipe = {key: config[key] for key in ("optim_wrapper", "param_scheduler", "auto_scale_lr")}
    places = [path for path in numbers(recipe) if path[-1] not in ("begin", "end")]
    places.append(("train_cfg", *next(numbers(config["train_cfg"]))))
    if config["param_scheduler"][0]["type"] in WARM_UPS:  # the end of all others is the training's
        places.append(("param_scheduler", 0, "end"))
    assert len(places) >= 9
    for place in places:
        assert mmdet_settings(Config(with_one_more(config, place))) != before, place


def test_options_without_words_are_shown_as_they_are() -> None:
    config = get_config(f"mmdet::{FCOS}").to_dict()
    config["optim_wrapper"]["paramwise_cfg"]["custom_keys"] = {"neck": {"lr_mult": 2}}
    config["optim_wrapper"]["optimizer"]["nesterov"] = True
    found = mmdet_settings(Config(config))["other options of the optimiser"]
    assert found == "nesterov True, custom_keys {'neck': {'lr_mult': 2}}"


def test_fcos_of_mmdet_in_words() -> None:
    found = mmdet_settings(get_config(f"mmdet::{FCOS}"))
    assert found["learning rate of biases"] == "2 times that of weights"
    assert found["weight decay of biases"] == "0"
    assert found["weight decay of norms"] == "0.0001"
    assert found["warm-up"] == "linear, 500 iterations from a factor of 0.333333"
    base = get_config("mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py")
    assert mmdet_settings(base)["gradient clipping"] == "norm to 35"
    assert mmdet_settings(base)["warm-up"].startswith("constant, 500 iterations")


def test_a_config_with_a_model_alone() -> None:
    """Your own config needs no optimiser."""
    model = get_config(f"mmdet::{FCOS}").model
    found = mmdet_settings(Config({"model": model}))
    assert found["box loss"] == "GIoULoss"
    assert "learning rate" not in found


def test_defaults_of_classes_count() -> None:
    found = mmdet_settings(
        Config(
            {
                "model": {"backbone": {"type": "mmdet.models.backbones.ResNet", "depth": 50}},
                "optim_wrapper": {"optimizer": {"type": "AdamW", "lr": 0.1}},
            }
        )
    )
    assert found["stride of a bottleneck"] == "in the 3x3 convolution"
    assert found["batch norm of the backbone"] == "statistics frozen, weights and biases trained"
    assert (found["frozen stages"], found["weight decay"]) == ("none", "0.01")


@pytest.mark.parametrize("backbone", COCO.backbones)
def test_words_for_a_backbone_are_true(coco: Lab, backbone: str) -> None:
    run = coco.run(backbone=backbone)
    words, config = track_settings(run), plain_config(run, coco.inputs).model
    with torch.device("cpu" if backbone == "efficientnet-b0" else "meta"):
        built = MODELS.build(config.backbone)
    built.train()
    norms = [part for part in built.modules() if isinstance(part, _BatchNorm)]
    trained = backbone.startswith("cspnext")
    statistics, weights = ("updated", "trained") if trained else ("frozen", "frozen")
    batch_norm = f"statistics {statistics}, weights and biases {weights}"
    assert words["batch norm of the backbone"] == batch_norm
    assert {norm.training for norm in norms} == {trained}
    assert {p.requires_grad for norm in norms for p in norm.parameters()} == {trained}
    assert any(p.requires_grad for p in built.parameters())
    in_first = words["stride of a bottleneck"] == "in the first 1x1 convolution"
    assert in_first == (backbone in ("resnet50", "resnet101"))
    if words["stride of a bottleneck"] != "has none":
        assert (built.layer2[0].conv1.stride == (2, 2)) == in_first
    images = MODELS.build(config.data_preprocessor)
    assert images._channel_conversion == words["normalisation"].startswith("RGB")
    numbers = " ".join(f"{value:g}" for value in images.mean.flatten().tolist())
    assert f"mean {numbers}," in words["normalisation"]
