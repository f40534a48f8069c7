"""From a run's description to mmengine configs, derived from those mmdet ships."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hub import get_config

from icd.errors import InputError
from icd.suite.run import Run
from icd.suite.track import TEST, TRAIN, data_split

PAPER_FACTOR = 0.1  # by which the learning rate falls at each step of a stepwise schedule


@dataclass(frozen=True)
class Inputs:
    """Where a run finds what it learns from.

    data: root of the data set.
    survey: content of the data set's survey: classes, counts, priors.
    """

    data: Path
    survey: dict[str, Any]


def base_config(run: Run) -> Config:
    """The config that mmdet ships for the run's detector, or the user's own for an imported one.

    Raises:
        InputError: there is no such config.
    """
    name = run.description["config"] if run.imported else run.description["detector"]["config"]
    try:
        return Config.fromfile(name) if run.imported else get_config(f"mmdet::{name}")
    except FileNotFoundError as error:
        expected = "a config file" if run.imported else "a config that mmdet ships"
        raise InputError(name, "", "does not exist", expected) from error


def plain_config(run: Run, inputs: Inputs) -> Config:
    """A config of the bare detector and its evaluation, which mmdet loads without this package."""
    base, classes = base_config(run), inputs.survey["classes"]
    steps = pipeline(base.test_dataloader.dataset.pipeline, run.description["images"], False)
    config = Config(
        {
            "default_scope": "mmdet",
            "model": detector(run, base, len(classes)),
            "test_dataloader": {
                "batch_size": 16,
                "num_workers": 0,
                "sampler": {"type": "DefaultSampler", "shuffle": False},
                "dataset": dataset(run, inputs, TEST) | {"test_mode": True, "pipeline": steps},
            },
            "test_cfg": {"type": "TestLoop"},
            "test_evaluator": {
                "type": "CocoMetric",
                "metric": metrics(base),
                "ann_file": str(inputs.data / split_files(run, TEST)["annotations"]),
            },
        }
    )
    return config


def training_config(run: Run, inputs: Inputs, workers: int, checkpoint_every: int) -> Config:
    """A complete config of mmengine's Runner for a run."""
    base, recipe = base_config(run), run.description["recipe"]
    seed, iterations = run.description["seed"], run.description["schedule"]["iterations"]
    steps = [{"type": "SeedByPlace", "seed": seed}]
    steps += pipeline(base.train_pipeline, run.description["images"], True)
    model = detector(run, base, len(inputs.survey["classes"]))
    optimiser, schedule = optim_wrapper(recipe["optimizer"]), decay(recipe, iterations)
    hooks = [
        {"type": "SeedByIteration", "seed": seed},
        {"type": "FiniteLossHook"},
        {"type": "ProgressHook", "run": run.id},
    ]
    if run.description["inherit"]:
        hooks.append({"type": "InheritHook", "checkpoint": str(run.teacher.folder / "model.pth")})
    if run.description["method"]:
        method = run.description["method"]
        model = distiller(run, inputs, model)
        optimiser = {
            "constructor": "DistillerOptimConstructor",
            "student": optimiser,
            "method": optim_wrapper(method["optimizer"]),
        }
        # The method's own schedule: half a cosine to zero (section 4.1 of the paper).
        schedule = {"student": schedule, "method": [cosine(iterations)]}
        hooks.append({"type": "IterationHook"})
    return Config(
        {
            "default_scope": "mmdet",
            "work_dir": str(run.folder / "work"),
            "model": model,
            "train_dataloader": {
                "batch_size": recipe["batch_size"] // run.description["devices"],
                "num_workers": workers,
                "persistent_workers": workers > 0,
                "sampler": {"type": "PlacedSampler", "shuffle": True, "seed": seed},
                "dataset": dataset(run, inputs, TRAIN)
                | {
                    "pipeline": steps,
                    "filter_cfg": base.train_dataloader.dataset.get("filter_cfg"),
                },
            },
            "train_cfg": {
                "type": "IterBasedTrainLoop",
                "max_iters": iterations,
                "val_interval": iterations + 1,
            },
            "optim_wrapper": optimiser,
            "param_scheduler": schedule,
            "default_hooks": default_hooks(checkpoint_every),
            "custom_hooks": hooks,
            "randomness": {"seed": seed},
            "log_processor": {"by_epoch": False, "window_size": 50},
            "channels_last": recipe.get("channels_last", False),
            "resume": True,
        }
    )


def default_hooks(checkpoint_every: int) -> dict[str, dict]:
    """mmengine's hooks: timing, log, schedules, checkpoints."""
    return {
        "timer": {"type": "IterTimerHook"},
        "logger": {"type": "LoggerHook", "interval": 50},
        "param_scheduler": {"type": "ParamSchedulerHook"},
        "checkpoint": {
            "type": "CheckpointHook",
            "by_epoch": False,
            "interval": checkpoint_every,
            "max_keep_ckpts": 2,
        },
        "sampler_seed": {"type": "DistSamplerSeedHook"},
    }


def detector(run: Run, base: Config, num_classes: int) -> dict:
    """The model of a run: mmdet's, with the changes of the track and its number of classes."""
    config = Config({"model": base.model})
    if not run.imported:
        backbone, chosen = run.description["backbone"], run.description["detector"]
        parts = {key: backbone[key] for key in ("backbone", "neck") if key in backbone}
        config.merge_from_dict({"model": parts})
        config.merge_from_dict({"model": chosen.get("model", {})})
    model = config.model.to_dict()
    set_everywhere(model, "num_classes", num_classes)
    return model


def set_everywhere(tree: Any, key: str, value: Any) -> None:
    """Set ``key`` wherever it stands in nested dictionaries and lists."""
    if isinstance(tree, dict):
        if key in tree:
            tree[key] = value
        for branch in tree.values():
            set_everywhere(branch, key, value)
    elif isinstance(tree, (list, tuple)):
        for branch in tree:
            set_everywhere(branch, key, value)


def distiller(run: Run, inputs: Inputs, student: dict) -> dict:
    """A Distiller around the student's model."""
    method, teacher = run.description["method"], run.teacher
    if method["name"] != "icd":
        raise InputError("methods", method["name"], "is no known method", "icd")
    return {
        "type": "Distiller",
        "student": student,
        "teacher": {
            "config": Config.fromfile(teacher.folder / "model.py").model.to_dict(),
            "checkpoint": str(teacher.folder / "model.pth"),
        },
        "method": {
            "type": "ICD",
            "priors": inputs.survey["priors"],
            "seed": run.description["seed"],
            **method["options"],
        },
    }


def dataset(run: Run, inputs: Inputs, split: str) -> dict:
    """The images and annotations of a split."""
    files = split_files(run, split)
    return {
        "type": "CocoDataset",
        "data_root": str(inputs.data),
        "ann_file": files["annotations"],
        "data_prefix": {"img": files["images"]},
        "metainfo": {"classes": inputs.survey["classes"]},
    }


def split_files(run: Run, split: str) -> dict[str, str]:
    """Annotation file and image folder of a split, relative to the data's root."""
    return data_split(run.description["data"], split)


def metrics(base: Config) -> list[str]:
    """What mmdet evaluates the detector on: boxes, and masks where it has them."""
    metric = base.test_evaluator.metric
    return list(metric) if isinstance(metric, (list, tuple)) else [metric]


def pipeline(steps: list[dict], images: dict[str, Any], train: bool) -> list[dict]:
    """mmdet's pipeline with the track's sizes and flips."""
    changes = {"Resize": resize(images, train), "RandomFlip": flip(images)}
    return [changes.get(step["type"], step) for step in (dict(step) for step in steps)]


def resize(images: dict[str, Any], train: bool) -> dict:
    """Keep the aspect ratio; in training, draw the shortest side if the track lists several."""
    longest, shortest = images["scale"]
    if train and "train_short_sides" in images:
        scales = [(longest, side) for side in images["train_short_sides"]]
        return {"type": "RandomChoiceResize", "scales": scales, "keep_ratio": True}
    return {"type": "Resize", "scale": (longest, shortest), "keep_ratio": True}


def flip(images: dict[str, Any]) -> dict:
    """One of the track's directions, or none, with equal chances."""
    directions = images["flips"]
    chance = 1 / (len(directions) + 1)
    return {"type": "RandomFlip", "prob": [chance] * len(directions), "direction": directions}


def optim_wrapper(optimizer: dict[str, Any]) -> dict:
    """An OptimWrapper; ``clip`` is the largest gradient norm."""
    optimizer = dict(optimizer)
    clip = optimizer.pop("clip", None)
    config = {"type": "OptimWrapper", "optimizer": optimizer}
    return config | ({"clip_grad": {"max_norm": clip}} if clip else {})


def decay(recipe: dict[str, Any], iterations: int) -> list[dict]:
    """Learning-rate schedule of the student: a linear ramp, then cosine or steps."""
    if recipe["decay"] == "cosine":
        fall = cosine(iterations)
    else:
        milestones = [round(fraction * iterations) for fraction in recipe["decay"]]
        fall = {
            "type": "MultiStepLR",
            "by_epoch": False,
            "milestones": milestones,
            "gamma": PAPER_FACTOR,
        }
    ramp = min(recipe.get("ramp", 0), iterations)
    if ramp < 2:  # mmengine's ramp ends at its last iteration: of one, it would never end
        return [fall]
    return [{"type": "LinearLR", "by_epoch": False, "start_factor": 0.001, "end": ramp}, fall]


def cosine(iterations: int) -> dict:
    """Half a cosine from the full rate to zero."""
    return {"type": "CosineAnnealingLR", "by_epoch": False, "T_max": iterations, "eta_min": 0.0}
