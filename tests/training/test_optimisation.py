"""Optimisers and learning rates equal those of the paper, detectron2 and mmdet."""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import build_optim_wrapper

from icd.experiments.recipe import Optimizer
from icd.training.config import plain_config
from icd.training.optimisation import optim_wrapper, optimisation
from tests.lab import Lab, teacher_of


@pytest.mark.parametrize(
    ("role", "iterations", "milestones"),
    [("student", 90_000, [60_000, 80_000]), ("teacher", 270_000, [210_000, 250_000])],
)
def test_the_papers_schedule(coco: Lab, role: str, iterations: int, milestones: list[int]) -> None:
    config = coco.config(coco.run(role=role))
    ramp, steps = config.param_scheduler
    assert config.train_cfg.max_iters == iterations
    assert (ramp["type"], ramp["end"]) == ("LinearLR", 1000)
    assert (steps["type"], steps["milestones"], steps["gamma"]) == ("MultiStepLR", milestones, 0.1)
    assert config.optim_wrapper == {
        "type": "ClippingOptimWrapper",
        "optimizer": {
            "type": "SGD",
            "lr": 0.01,
            "momentum": 0.9,
            "weight_decay": 1e-4,
            "fused": True,
        },
        "constructor": "NormDecayConstructor",
        "paramwise_cfg": {"norm_decay_mult": 0.0},
    }


@pytest.mark.parametrize(
    ("schedule", "iterations", "milestones"),
    [
        ("1x", 90_000, [60_000, 80_000]),
        ("2x", 180_000, [120_000, 160_000]),
        ("3x", 270_000, [210_000, 250_000]),
    ],
)
def test_detectron2s_schedules(
    coco: Lab, schedule: str, iterations: int, milestones: list[int]
) -> None:
    """detectron2/configs/common/coco_schedule.py: from 3x on, the steps are as far from the end."""
    config = coco.config(coco.run(schedule=schedule))
    assert config.train_cfg.max_iters == iterations
    assert config.param_scheduler[1]["milestones"] == milestones


@pytest.mark.parametrize(("name", "lr"), [("atss", 0.01), ("mask-rcnn", 0.02), ("solov2", 0.01)])
@pytest.mark.parametrize("role", ["student", "teacher"])
def test_a_detector_has_its_own_rate(coco: Lab, role: str, name: str, lr: float) -> None:
    wrapper = coco.config(coco.run(role=role, detector=name)).optim_wrapper
    assert wrapper.optimizer.lr == lr
    assert "clip_grad" not in wrapper  # the published baselines are not clipped, mmdet's SOLOv2 is


@pytest.mark.parametrize(("batch_size", "lr"), [(8, 0.005), (16, 0.01), (64, 0.04)])
def test_the_rate_of_the_student_is_proportional_to_the_batch(
    coco: Lab, batch_size: int, lr: float
) -> None:
    lab = coco.changed({"recipe": {"batch_size": batch_size}})
    config = lab.config(lab.run())
    assert config.optim_wrapper.optimizer.lr == pytest.approx(lr)
    assert config.linear_rule == batch_size / 16
    recipe, method = lab.run().recipe, lab.run(method="icd").method
    wrappers = optimisation(recipe, method, 90_000)["optim_wrapper"]
    assert wrappers["student"]["optimizer"]["lr"] == pytest.approx(lr)
    assert wrappers["method"]["optimizer"]["lr"] == 1e-4


def test_without_a_reference_the_rate_is_as_it_stands(mini: Lab) -> None:
    lab = mini.changed({"recipe": {"batch_size": 2}})
    config = lab.config(lab.run())
    assert config.optim_wrapper.optimizer.lr == lab.track.content.recipe.optimizer.lr
    assert config.linear_rule == 1


def test_the_papers_optimiser_of_the_method(coco: Lab) -> None:
    run = coco.run(method="icd")
    folder = coco.folder(teacher_of(run))
    folder.mkdir(parents=True)
    plain_config(teacher_of(run), coco.inputs).dump(folder / "model.py")
    config = coco.config(run)
    assert config.optim_wrapper.method == {
        "type": "ClippingOptimWrapper",
        "optimizer": {"type": "AdamW", "lr": 1e-4, "weight_decay": 1e-4, "fused": True},
        "clip_grad": {"max_norm": 0.01},
    }
    (schedule,) = config.param_scheduler.method
    assert (schedule["type"], schedule["T_max"], schedule["eta_min"]) == (
        "CosineAnnealingLR",
        90_000,
        0.0,
    )
    assert len(config.model.method.priors.frequency) == 80
    assert config.model.method.seed == 0


@pytest.mark.parametrize("method", ["fitnet", "cwd", "pkd", "mgd", "fgd"])
def test_the_rivals_on_coco_share_the_students_optimiser(coco: Lab, method: str) -> None:
    run, plain = coco.run(method=method, detector="faster-rcnn"), coco.run(detector="faster-rcnn")
    found = optimisation(run.recipe, run.method, 90_000)
    expected = optimisation(plain.recipe, None, 90_000)
    assert found["param_scheduler"] == expected["param_scheduler"]
    clip = {"clip_grad": {"max_norm": 35.0}} if method in ("cwd", "mgd", "fgd") else {}
    assert found["optim_wrapper"] == expected["optim_wrapper"] | clip
    assert found["optim_wrapper"]["optimizer"]["lr"] == 0.02


def test_icd_on_coco_clips_elements_of_the_students_gradients(coco: Lab) -> None:
    run = coco.run(method="icd")
    wrappers = optimisation(run.recipe, run.method, 90_000)["optim_wrapper"]
    assert wrappers["student"]["clip_grad"] == {"clip_value": 1.0}
    assert wrappers["method"]["clip_grad"] == {"max_norm": 0.01}


@pytest.mark.parametrize(
    ("optimizer", "fused"),
    [
        ({"type": "SGD"}, True),
        ({"type": "AdamW"}, True),
        ({"type": "AdamW", "fused": False}, False),
        ({"type": "AdamW", "foreach": True}, None),  # PyTorch refuses both
        ({"type": "Rprop"}, None),
    ],
)
def test_parameters_are_stepped_at_once_where_pytorch_can(
    optimizer: dict, fused: bool | None
) -> None:
    wrapper = optim_wrapper(Optimizer(lr=0.1, clip=1.0, **optimizer))
    assert wrapper["optimizer"].get("fused") == fused
    build_optim_wrapper(torch.nn.Linear(2, 2), wrapper)
