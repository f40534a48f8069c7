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
from icd.training.method_class import accepted_arguments, method_class
from icd.training.optimisation import lr_factor, optimisation
from icd.training.pipeline import pipeline
from icd.training.pyramid import level_shift

# Keys that a detector's config must have; an imported detector needs the first three.
PARTS = (
    "model",
    "test_dataloader.dataset.pipeline",
    "test_evaluator.metric",
    "train_pipeline",
    "train_dataloader.dataset",
)


@dataclass(frozen=True)
class RunInputs:
    """What a run reads besides the weights of other runs.

    data: root folder of the data set.
    survey: content of the file that ``icd check`` wrote: classes, counts, priors.
    """

    data: Path
    survey: dict[str, Any]


def base_config(run: Run) -> Config:
    """The config of the run's detector: the user's own file, or one that mmdet ships.

    Raises:
        InputError: the config does not exist or is incomplete.
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
        raise InputError(name, "", f"is not valid Python ({error})", "an mmdet config") from error
    for key in PARTS[: 3 if run.imported else None]:
        _require_part(base, name, key)
    return base


def _require_part(base: Config, name: str, key: str) -> None:
    """Raise InputError unless a config has a dotted key."""
    branch = base
    for part in key.split("."):
        branch = branch.get(part) if hasattr(branch, "get") else None
    if branch is None:
        expected = "a complete config of a detector on COCO, as mmdet ships them"
        raise InputError(name, key, "is missing", expected)


def plain_config(run: Run, inputs: RunInputs) -> Config:
    """A config of the plain detector and its evaluation, which mmdet loads without this package."""
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


def training_config(run: Run, inputs: RunInputs, workers: int, checkpoint_every: int) -> Config:
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
            "linear_rule": lr_factor(recipe),
            "default_hooks": default_hooks(run, checkpoint_every),
            "custom_hooks": custom_hooks(run, model),
            "randomness": {"seed": seed},
            "log_processor": {"by_epoch": False, "window_size": 50},
            "channels_last": recipe.get("channels_last", False),
            "precision": recipe.get("precision", "float32"),
        }
    )


def custom_hooks(run: Run, student: dict[str, Any]) -> list[dict[str, Any]]:
    """The hooks of :mod:`icd.training.hooks` that the run needs.

    ``student``: config of the model that is trained.
    """
    hooks: list[dict[str, Any]] = [
        {"type": "SeedByIteration", "seed": run.description["seed"]},
        {"type": "StrictResumeHook"},
        {"type": "FiniteLossHook"},
        {"type": "ProgressHook", "run": run.id},
        {"type": "InterruptHook", "run": run.id},
    ]
    if run.pretrained:  # before inheriting, which replaces some of the weights
        start = run.pretrained.folder / "model.pth"
        hooks.append({"type": "PretrainedHook", "checkpoint": str(start)})
    if run.description["inherit"]:
        shift = level_shift(student, teacher_config(run))
        inherit = {"type": "InheritHook", "checkpoint": teacher_checkpoint(run)}
        hooks.append(inherit | ({"shift": shift} if shift else {}))
    if run.description["method"]:
        hooks.append({"type": "IterationHook"})
    return hooks


def default_hooks(run: Run, checkpoint_every: int) -> dict[str, dict[str, Any]]:
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


def detector(run: Run, base: Config, num_classes: int) -> dict[str, Any]:
    """The model of a run: mmdet's config, changed by the track, for its number of classes."""
    config = Config({"model": base.model})
    if not run.imported:
        # Copied, because mmengine removes its _delete_ keys from the dictionaries that it merges.
        backbone, chosen = (deepcopy(run.description[key]) for key in ("backbone", "detector"))
        parts = {key: backbone[key] for key in ("backbone", "neck") if key in backbone}
        # The backbone comes last, because one of another type replaces all that was set before.
        config.merge_from_dict({"model": chosen.get("model", {})})
        config.merge_from_dict({"model": parts})
    model = config.model.to_dict()
    set_everywhere(model, "num_classes", num_classes)
    return model


def set_everywhere(tree: Any, key: str, value: Any) -> None:
    """Set ``key`` wherever it occurs in nested dictionaries and lists."""
    if isinstance(tree, dict):
        if key in tree:
            tree[key] = value
        for branch in tree.values():
            set_everywhere(branch, key, value)
    elif isinstance(tree, (list, tuple)):
        for branch in tree:
            set_everywhere(branch, key, value)


def distiller(run: Run, inputs: RunInputs, student: dict[str, Any]) -> dict[str, Any]:
    """Config of a Distiller around the student's model."""
    return {
        "type": "Distiller",
        "student": student,
        "teacher": {
            "config": teacher_config(run),
            "checkpoint": teacher_checkpoint(run),
        },
        **method_config(run, inputs),
    }


def method_config(run: Run, inputs: RunInputs) -> dict[str, Any]:
    """A Distiller's ``method``, and ``adapter`` if the run has one."""
    method = run.description["method"]
    path = class_path(method)
    offered = {"priors": inputs.survey["priors"], "seed": run.description["seed"]}
    config = {"type": path, **accepted_arguments(method_class(path), offered), **method["options"]}
    return {"method": config} | ({"adapter": True} if method.get("adapter") else {})


def teacher_config(run: Run) -> dict[str, Any]:
    """The model of a run's teacher, as its training exported it."""
    return Config.fromfile(teacher_folder(run) / "model.py").model.to_dict()


def teacher_checkpoint(run: Run) -> str:
    """The weights of a run's teacher, as its training exported them."""
    return str(teacher_folder(run) / "model.pth")


def teacher_folder(run: Run) -> Path:
    """The folder of the teacher of a run that distils or inherits."""
    if run.teacher is None:
        raise ValueError(f"{run.id} has no teacher")
    return run.teacher.folder


def dataset(run: Run, inputs: RunInputs, split: str) -> dict[str, Any]:
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
    """What mmdet evaluates: boxes (bbox), and masks (segm) if the detector predicts them."""
    metric = base.test_evaluator.metric
    return list(metric) if isinstance(metric, (list, tuple)) else [metric]
