"""From a run's description to mmengine configs, derived from those mmdet ships."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.visualization import get_palette
from mmengine.config import Config

from icd.experiments.options import Combination, Method
from icd.experiments.run import DecoderRun, ImportedRun, Run, TrainedRun, Training
from icd.experiments.splits import TEST
from icd.training.base_config import base_config
from icd.training.dataloader import copied_asynchronously, loading, sampler
from icd.training.method_class import accepted_arguments, method_class
from icd.training.optimisation import optimisation
from icd.training.pipeline import drop_sized_augments, pipeline
from icd.training.pyramid import level_shift

LOG_EVERY = 50  # iterations between two lines of the log


@dataclass(frozen=True)
class RunInputs:
    """What a run reads besides the weights of other runs.

    data: root folder of the data set.
    survey: content of the file that ``icd check`` wrote: classes, counts, priors.
    """

    data: Path
    survey: dict[str, Any]


def plain_config(run: TrainedRun | ImportedRun, inputs: RunInputs) -> Config:
    """A config of the plain detector and its evaluation, which mmdet loads without this package."""
    base, classes = base_config(run), inputs.survey["classes"]
    written = base.test_dataloader.dataset.pipeline
    steps = pipeline(written, run.images, False)
    loader = {
        "batch_size": 16,
        "num_workers": 0,
        "sampler": {"type": "DefaultSampler", "shuffle": False},
        "dataset": dataset(run, inputs, TEST)
        | {"test_mode": True, "pipeline": steps, "metainfo": metainfo(classes)},
    }
    evaluator = {
        "type": "CocoMetric",
        "metric": metrics(base),
        "ann_file": str(Path(inputs.data, run.files_of(TEST).file_beside(inputs.data))),
    }
    return Config(
        {
            "default_scope": "mmdet",
            "model": detector(run, base, len(classes)),
            "test_dataloader": loader,
            "test_cfg": {"type": "TestLoop"},
            "test_evaluator": evaluator,
            # mmdet's tools read these, with the same images.
            "val_dataloader": deepcopy(loader),
            "val_cfg": {"type": "ValLoop"},
            "val_evaluator": deepcopy(evaluator),
            "default_hooks": {"visualization": {"type": "DetVisualizationHook"}},
            "visualizer": {
                "type": "DetLocalVisualizer",
                "vis_backends": [{"type": "LocalVisBackend"}],
                "name": "visualizer",
            },
        }
    )


def training_config(
    run: Training, inputs: RunInputs, workers: int, checkpoint_every: int
) -> Config:
    """A complete config of mmengine's Runner for a run."""
    base, recipe, seed, iterations = base_config(run), run.recipe, run.seed, run.iterations
    steps = [{"type": "SeedByPlace", "seed": seed}]
    steps += pipeline(base.train_pipeline, run.images, True)
    model = model_config(run, base, inputs)
    return Config(
        {
            "default_scope": "mmdet",
            "work_dir": str(run.folder / "work"),
            "model": model,
            "train_dataloader": {
                "batch_size": recipe.batch_size // run.devices,
                **loading(workers, seed),
                "sampler": sampler(recipe, seed),
                "dataset": dataset(run, inputs, run.split)
                | {
                    "type": "CompletedCocoDataset",
                    "pipeline": steps,
                    "filter_cfg": base.train_dataloader.dataset.get("filter_cfg"),
                },
            },
            "train_cfg": train_loop(iterations, recipe.accumulate),
            **optimisation(recipe, run.method if run.distils else None, iterations),
            "linear_rule": recipe.linear_factor,
            "default_hooks": default_hooks(run, checkpoint_every),
            "custom_hooks": custom_hooks(run, model),
            "randomness": {"seed": seed},
            "log_processor": {"by_epoch": False, "window_size": LOG_EVERY},
            "channels_last": recipe.channels_last,
            "precision": recipe.precision,
            "teacher_precision": recipe.teacher_precision or recipe.precision,
            "tf32": recipe.tf32,
            "deterministic": False,
            "accumulate": recipe.accumulate,
        }
    )


def train_loop(iterations: int, accumulate: int) -> dict[str, Any]:
    """mmengine's loop without validation, or the one that computes a batch in several shares."""
    loop = {
        "type": "IterBasedTrainLoop",
        "max_iters": iterations,
        "val_interval": iterations + 1,
    }
    return loop | ({"type": "AccumulatingLoop", "shares": accumulate} if accumulate > 1 else {})


def model_config(run: Training, base: Config, inputs: RunInputs) -> dict[str, Any]:
    """The model that a run trains: a detector, a Distiller around one, or a decoder alone."""
    if isinstance(run, DecoderRun):
        teacher = {**teacher_source(run), "config": copied_asynchronously(teacher_config(run))}
        return {"type": "DecoderAlone", "teacher": teacher, **method_config(run, inputs)}
    model = copied_asynchronously(detector(run, base, len(inputs.survey["classes"])))
    return distiller(run, inputs, model) if run.distils else model


def custom_hooks(run: Training, model: dict[str, Any]) -> list[dict[str, Any]]:
    """The hooks of :mod:`icd.training.hooks` that the run needs.

    ``model``: config of what is trained.
    """
    hooks: list[dict[str, Any]] = [
        {"type": "SeedByIteration", "seed": run.seed},
        {"type": "StrictResumeHook"},
        {"type": "ProgressHook", "run": run.id},
        {"type": "InterruptHook", "run": run.id},
    ]
    if isinstance(run, DecoderRun):
        return [*hooks, {"type": "IterationHook"}]
    if run.pretrained:  # before inheriting, which replaces some of the weights
        start = run.pretrained.weights
        hooks.append({"type": "PretrainedHook", "checkpoint": str(start)})
    if run.inherit:
        student = model["student"] if run.distils else model
        shift = level_shift(student, teacher_config(run))
        start = teacher_of(run).weights
        inherit = {"type": "InheritHook", "checkpoint": str(start)}
        hooks.append(inherit | ({"shift": shift} if shift else {}))
    if run.decoder:
        hooks.append({"type": "WarmDecoderHook", "checkpoint": str(run.decoder.weights)})
    if run.distils:
        hooks.append({"type": "IterationHook"})
    if contains(model, "initial_epoch"):
        hooks.append({"type": "EpochHook", "batch": run.recipe.batch_size})
    return hooks


def default_hooks(run: Run, checkpoint_every: int) -> dict[str, dict[str, Any]]:
    """The hooks that mmengine always has: losses, timing, log, schedules, checkpoints."""
    return {
        "runtime_info": {"type": "LossHook", "interval": LOG_EVERY},
        "timer": {"type": "IterTimerHook"},
        "logger": {"type": "LoggerHook", "interval": LOG_EVERY},
        "param_scheduler": {"type": "ParamSchedulerHook"},
        "checkpoint": {
            "type": "ResumableCheckpointHook",
            "run": run.id,
            "interval": checkpoint_every,
        },
        "sampler_seed": {"type": "DistSamplerSeedHook"},
    }


def detector(run: TrainedRun | ImportedRun, base: Config, num_classes: int) -> dict[str, Any]:
    """The model of a run: mmdet's config, changed by the track, for its number of classes."""
    config = Config({"model": base.model})
    if isinstance(run, TrainedRun):
        # Copied, because mmengine removes its _delete_ keys from the dictionaries that it merges.
        backbone, chosen = run.backbone.model_copy(deep=True), deepcopy(run.detector.model)
        several = isinstance(base.model.get("neck"), list | tuple)  # the first sees the backbone
        parts = {"backbone": backbone.backbone}
        if backbone.neck:
            parts["neck"] = {"0": backbone.neck} if several else backbone.neck
        if backbone.data_preprocessor:
            parts["data_preprocessor"] = backbone.data_preprocessor.model_dump()
        # The backbone comes last, because one of another type replaces all that was set before.
        config.merge_from_dict({"model": chosen})
        config.merge_from_dict({"model": parts})
        drop_sized_augments(config.model)
    model = config.model.to_dict()
    set_everywhere(model, "num_classes", num_classes)
    set_things(model, num_classes)
    return model


def contains(tree: Any, key: str) -> bool:
    """Whether ``key`` occurs in nested dictionaries and lists."""
    if isinstance(tree, dict):
        return key in tree or any(contains(branch, key) for branch in tree.values())
    return isinstance(tree, (list, tuple)) and any(contains(branch, key) for branch in tree)


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


def distiller(run: TrainedRun, inputs: RunInputs, student: dict[str, Any]) -> dict[str, Any]:
    """Config of a Distiller around the student's model."""
    return {
        "type": "Distiller",
        "student": student,
        "teacher": teacher_source(run),
        **method_config(run, inputs),
    }


def teacher_source(run: Training) -> dict[str, Any]:
    """Config and checkpoint of a run's teacher."""
    return {"config": teacher_config(run), "checkpoint": str(teacher_of(run).weights)}


def method_config(run: Training, inputs: RunInputs) -> dict[str, Any]:
    """A Distiller's ``method`` and ``levels``, and ``adapter`` if the run has one."""
    method = run.method
    assert method, "it distils"
    if isinstance(method, Combination):
        parts = {part.name: part_config(part, run, inputs) for part in method.parts}
        adapted = all(part.pop("adapter", False) for part in parts.values())
        return {"method": {"parts": parts}, "levels": "all", **_adapter(adapted)}
    return part_config(method, run, inputs)


def part_config(method: Method, run: Training, inputs: RunInputs) -> dict[str, Any]:
    """The same for one method, alone or among several."""
    kind, options = method_class(method.path), dict(method.options)
    levels = options.pop("levels", getattr(kind, "distils", "all"))
    offered = {"priors": inputs.survey["priors"], "seed": run.seed}
    config = {"type": method.path, **accepted_arguments(kind, offered), **options}
    return {"method": config, "levels": levels, **_adapter(method.adapter)}


def _adapter(adapted: bool) -> dict[str, bool]:
    return {"adapter": True} if adapted else {}


def teacher_of(run: Training) -> TrainedRun | ImportedRun:
    """The teacher of a run that distils or inherits."""
    assert run.teacher, "it distils or inherits"
    return run.teacher


def teacher_config(run: Training) -> dict[str, Any]:
    """The model of a run's teacher, as its training exported it."""
    return Config.fromfile(teacher_of(run).folder / "model.py").model.to_dict()


def dataset(run: Run, inputs: RunInputs, split: str) -> dict[str, Any]:
    """The images and annotations of a split."""
    files = run.files_of(split)
    return {
        "type": "CocoDataset",
        "data_root": str(inputs.data),
        "ann_file": files.file_beside(inputs.data),
        "data_prefix": {"img": files.images},
        "metainfo": {"classes": inputs.survey["classes"]},
    }


def set_things(tree: Any, count: int) -> None:
    """Set the number of classes of heads for panoptic segmentation that segment instances alone."""
    if isinstance(tree, dict):
        if "num_things_classes" in tree and not tree.get("num_stuff_classes"):
            tree["num_things_classes"] = count
            weights = (tree.get("loss_cls") or {}).get("class_weight")
            if isinstance(weights, (list, tuple)):  # one for each class and the background
                tree["loss_cls"]["class_weight"] = [weights[0]] * count + [weights[-1]]
        tree = list(tree.values())
    if isinstance(tree, (list, tuple)):
        for branch in tree:
            set_things(branch, count)


def metainfo(classes: list[str]) -> dict[str, Any]:
    """Names and, if there are more than COCO's, colours of the classes for mmdet's tools."""
    if len(classes) <= len(CocoDataset.METAINFO["palette"]):
        return {"classes": classes}
    return {"classes": classes, "palette": get_palette("random", len(classes))}


def metrics(base: Config) -> list[str]:
    """What mmdet evaluates: boxes (bbox), and masks (segm) if the detector predicts them."""
    metric = base.test_evaluator.metric
    return list(metric) if isinstance(metric, (list, tuple)) else [metric]
