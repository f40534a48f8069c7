"""From a run's description to mmengine configs, derived from those mmdet ships."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hub import get_config

from icd.errors import InputError
from icd.experiments.options import class_path
from icd.experiments.run import Run
from icd.experiments.track import TEST, data_split
from icd.experiments.zoo import configs
from icd.training.method_class import asked, method_class
from icd.training.optimisation import linear_rule, optimisation
from icd.training.pipeline import pipeline
from icd.training.pyramid import level_shift

# What is read of a detector's config; the first three for one that is taken as it is.
PARTS = (
    "model",
    "test_dataloader.dataset.pipeline",
    "test_evaluator.metric",
    "train_pipeline",
    "train_dataloader.dataset",
)


@dataclass(frozen=True)
class Inputs:
    """Where a run finds what it learns from.

    data: root of the data set.
    survey: content of the data set's survey: classes, counts, priors.
    """

    data: Path
    survey: dict[str, Any]


def base_config(run: Run) -> Config:
    """The config of the run's detector: the user's own file, or one that mmdet ships.

    Raises:
        InputError: there is no such config, or it is not complete.
    """
    name = run.description["config"] if run.imported else run.description["detector"]["config"]
    own = run.imported or Path(name).is_file()
    try:
        file = configs() / name if run.zoo else name
        base = Config.fromfile(file) if own else get_config(f"mmdet::{name}")
    except FileNotFoundError as error:
        expected = "a config file" if run.imported else "a config that mmdet ships, or a file"
        raise InputError(name, "", "does not exist", expected) from error
    except SyntaxError as error:
        raise InputError(name, "", f"is no Python ({error})", "a config of mmdet") from error
    for key in PARTS[: 3 if run.imported else None]:
        _require_part(base, name, key)
    return base


def _require_part(base: Config, name: str, key: str) -> None:
    """Raise InputError unless there is something under a dotted key of a config."""
    branch = base
    for part in key.split("."):
        branch = branch.get(part) if hasattr(branch, "get") else None
    if branch is None:
        expected = "a complete config of a detector on COCO, as mmdet ships them"
        raise InputError(name, key, "is missing", expected)


def plain_config(run: Run, inputs: Inputs) -> Config:
    """A config of the bare detector and its evaluation, which mmdet loads without this package."""
    base, classes = base_config(run), inputs.survey["classes"]
    steps = pipeline(base.test_dataloader.dataset.pipeline, run.description["images"], False)
    return Config(
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


def training_config(run: Run, inputs: Inputs, workers: int, checkpoint_every: int) -> Config:
    """A complete config of mmengine's Runner for a run."""
    base, recipe = base_config(run), run.description["recipe"]
    seed, iterations = run.description["seed"], run.description["schedule"]["iterations"]
    steps = [{"type": "SeedByPlace", "seed": seed}]
    steps += pipeline(base.train_pipeline, run.description["images"], True)
    model = detector(run, base, len(inputs.survey["classes"]))
    return Config(
        {
            "default_scope": "mmdet",
            "work_dir": str(run.folder / "work"),
            "model": distiller(run, inputs, model) if run.description["method"] else model,
            "train_dataloader": {
                "batch_size": recipe["batch_size"] // run.description["devices"],
                "num_workers": workers,
                "persistent_workers": workers > 0,
                "worker_init_fn": {
                    "type": "uninterrupted_worker",
                    "num_workers": workers,
                    "seed": seed,
                },
                "sampler": {"type": "PlacedSampler", "shuffle": True, "seed": seed},
                "dataset": dataset(run, inputs, run.split)
                | {
                    "type": "CompletedCocoDataset",
                    "pipeline": steps,
                    "filter_cfg": base.train_dataloader.dataset.get("filter_cfg"),
                },
            },
            "train_cfg": {
                "type": "IterBasedTrainLoop",
                "max_iters": iterations,
                "val_interval": iterations + 1,
            },
            **optimisation(recipe, run.description["method"], iterations),
            "linear_rule": linear_rule(recipe),
            "default_hooks": default_hooks(run, checkpoint_every),
            "custom_hooks": custom_hooks(run, model),
            "randomness": {"seed": seed},
            "log_processor": {"by_epoch": False, "window_size": 50},
            "channels_last": recipe.get("channels_last", False),
            "precision": recipe.get("precision", "float32"),
        }
    )


def custom_hooks(run: Run, student: dict) -> list[dict]:
    """Our own hooks, as far as the run needs them; ``student``: the model that is trained."""
    hooks = [
        {"type": "SeedByIteration", "seed": run.description["seed"]},
        {"type": "StrictResumeHook"},
        {"type": "FiniteLossHook"},
        {"type": "ProgressHook", "run": run.id},
        {"type": "InterruptHook", "run": run.id},
    ]
    if run.pretrained:  # before inheriting, which replaces parts of it
        start = str(run.pretrained.folder / "model.pth")
        hooks.append({"type": "PretrainedHook", "checkpoint": start})
    if run.description["inherit"]:
        shift = level_shift(student, teacher_config(run))
        start = {"checkpoint": str(run.teacher.folder / "model.pth")}
        hooks.append({"type": "InheritHook", **start} | ({"shift": shift} if shift else {}))
    if run.description["method"]:
        hooks.append({"type": "IterationHook"})
    return hooks


def default_hooks(run: Run, checkpoint_every: int) -> dict[str, dict]:
    """mmengine's hooks: timing, log, schedules, checkpoints."""
    return {
        "timer": {"type": "IterTimerHook"},
        "logger": {"type": "LoggerHook", "interval": 50},
        "param_scheduler": {"type": "ParamSchedulerHook"},
        "checkpoint": {
            "type": "ResumableCheckpointHook",
            "run": run.id,
            "interval": checkpoint_every,
        },
        "sampler_seed": {"type": "DistSamplerSeedHook"},
    }


def detector(run: Run, base: Config, num_classes: int) -> dict:
    """The model of a run: mmdet's, with the changes of the track and its number of classes."""
    config = Config({"model": base.model})
    if not run.imported:
        # A copy, since mmengine takes its sign to replace a part (_delete_) out of what it reads.
        backbone, chosen = (deepcopy(run.description[key]) for key in ("backbone", "detector"))
        parts = {key: backbone[key] for key in ("backbone", "neck") if key in backbone}
        # The backbone last, since one of another type replaces all that was said before.
        config.merge_from_dict({"model": chosen.get("model", {})})
        config.merge_from_dict({"model": parts})
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
    return {
        "type": "Distiller",
        "student": student,
        "teacher": {
            "config": teacher_config(run),
            "checkpoint": str(run.teacher.folder / "model.pth"),
        },
        **method_config(run, inputs),
    }


def method_config(run: Run, inputs: Inputs) -> dict:
    """A Distiller's ``method``, and ``adapter`` if the run has one."""
    method = run.description["method"]
    path = class_path(method)
    offered = {"priors": inputs.survey["priors"], "seed": run.description["seed"]}
    config = {"type": path, **asked(method_class(path), offered), **method["options"]}
    return {"method": config} | ({"adapter": True} if method.get("adapter") else {})


def teacher_config(run: Run) -> dict:
    """The model of a run's teacher, as its training has left it."""
    return Config.fromfile(run.teacher.folder / "model.py").model.to_dict()


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
