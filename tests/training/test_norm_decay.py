"""Norms decay as mmengine would let them, but in two groups of parameters."""

from __future__ import annotations

from typing import Any

import pytest
from mmdet.registry import MODELS
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper, build_optim_wrapper
from torch import nn

from icd.training.config import plain_config
from icd.training.distiller import Distiller
from tests.lab import Lab, teacher_of


def decays(model: nn.Module, wrapper: OptimWrapper) -> dict[str, float]:
    """The weight decay of each parameter that is trained, by its name."""
    of = {
        parameter: group["weight_decay"]
        for group in wrapper.optimizer.param_groups
        for parameter in group["params"]
    }
    return {name: of[p] for name, p in model.named_parameters() if p.requires_grad}


def by_mmengine(model: nn.Module, config: dict[str, Any]) -> OptimWrapper:
    theirs = {k: v for k, v in config.items() if k not in ("constructor", "paramwise_cfg")}
    return DefaultOptimWrapperConstructor(theirs, config["paramwise_cfg"])(model)


@pytest.mark.parametrize("name", ["fcos", "retinanet"])
def test_groups_are_those_of_mmengine(coco: Lab, name: str) -> None:
    run = coco.run(detector=name)
    model = MODELS.build(plain_config(run, coco.inputs).model)
    config = coco.config(run).optim_wrapper.to_dict()
    ours, theirs = build_optim_wrapper(model, config), by_mmengine(model, config)
    assert decays(model, ours) == decays(model, theirs)
    groups = ours.optimizer.param_groups
    assert len(groups) == 2
    assert {id(p) for group in groups for p in group["params"]} == {*map(id, model.parameters())}
    without = {name for name, decay in decays(model, ours).items() if not decay}
    assert without == {n for n in decays(model, ours) if ".gn." in n}
    assert bool(without) == (name == "fcos")  # the batch norm of the backbone is frozen


def test_the_student_of_a_distiller_has_them_too(lab: Lab) -> None:
    lab = lab.changed({"recipe": {"optimizer": {"norm_decay_mult": 0.5}}})
    run = lab.run(method="icd")
    lab.place_untrained(teacher_of(run))
    config = lab.config(run)
    model = MODELS.build(config.model)
    assert isinstance(model, Distiller)
    wrappers = build_optim_wrapper(model, config.optim_wrapper)
    found = decays(model.student, wrappers["student"])
    assert {found["backbone.bn1.weight"], found["bbox_head.cls_convs.0.gn.bias"]} == {5e-5}
    assert found["bbox_head.retina_cls.bias"] == found["backbone.conv1.weight"] == 1e-4


def test_a_model_without_norms() -> None:
    config = {"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 0.1, "weight_decay": 0.1}}
    config |= {"constructor": "NormDecayConstructor", "paramwise_cfg": {"norm_decay_mult": 0.0}}
    wrapper = build_optim_wrapper(nn.Linear(2, 2), config)
    assert [group["weight_decay"] for group in wrapper.optimizer.param_groups] == [0.1]
