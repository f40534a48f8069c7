"""The config that a detector is derived from, mmdet's or the user's, and what of it is used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

from mmengine.config import Config
from mmengine.hub import get_config

from icd.errors import InputError
from icd.experiments.run import AnyRun, DecoderRun, ImportedRun, TrainedRun
from icd.experiments.zoo import configs

# Keys that a detector's config must have; an imported detector needs the first three.
PARTS = (
    "model",
    "test_dataloader.dataset.pipeline",
    "test_evaluator.metric",
    "train_dataloader.dataset.pipeline",
)


def base_config(run: AnyRun) -> Config:
    """The config of the run's detector: the user's own file, or one that mmdet ships.

    A decoder is trained on the images of its teacher's config.

    Types are strings, also if the config is written in pure Python. ``train_dataloader.dataset`` is
    the data set inside all wrappers, with the pipeline that mmdet would train with.

    Raises:
        InputError: the config does not exist or is incomplete.
    """
    base = flat(written_config(run))
    for key in PARTS[: 3 if isinstance(run, ImportedRun) else None]:
        _require_part(base, config_name(run), key)
    return base


def _detector_of(run: AnyRun) -> TrainedRun | ImportedRun:
    """The run itself, or the teacher of a decoder."""
    return run.teacher if isinstance(run, DecoderRun) else run


def config_name(run: AnyRun) -> str:
    """Name or path of the config of the run's detector."""
    run = _detector_of(run)
    return run.config if isinstance(run, ImportedRun) else run.detector.config


def written_config(run: AnyRun) -> Config:
    """The config as it is written, with types as strings."""
    run = _detector_of(run)
    name, imported = config_name(run), isinstance(run, ImportedRun)
    file = configs() / name if isinstance(run, ImportedRun) and run.zoo else Path(name)
    own = imported or file.is_file()
    try:
        content = Config.fromfile(file) if own else get_config(f"mmdet::{name}")
        return Config(with_names(content.to_dict()))
    except FileNotFoundError as error:
        expected = "a config file" if imported else "a config that mmdet ships, or a file"
        raise InputError(name, "", "does not exist", expected) from error
    except SyntaxError as error:
        raise InputError(name, "", f"is not valid Python ({error})", "an mmdet config") from error
    except Exception as error:  # a config is a program, which may fail in any way
        problem = f"cannot be read ({type(error).__name__}: {' '.join(str(error).split())})"
        raise InputError(name, "", problem, "an mmdet config") from error


def with_names(tree: Any) -> Any:
    """Nested dictionaries and lists with classes and functions replaced by their import paths.

    A config in mmengine's pure-Python style states classes as types; a registry also finds them by
    their paths.
    """
    if isinstance(tree, dict):
        return {key: with_names(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(map(with_names, tree))
    return (
        f"{tree.__module__}.{tree.__qualname__}" if isinstance(tree, type | FunctionType) else tree
    )


def short_name(kind: str) -> str:
    """The name of a type without the path of its module."""
    return kind.rpartition(".")[2]


def flat(config: Config) -> Config:
    """The config with the data sets inside their wrappers, such as RepeatDataset."""
    for name in ("train_dataloader", "test_dataloader"):
        loader = config.get(name)
        if isinstance(loader, dict) and isinstance(loader.get("dataset"), dict):
            *wrappers, loader["dataset"] = _nested(loader["dataset"])
            if name == "train_dataloader":
                _use_one_pipeline(config, loader["dataset"], wrappers)
    return config


def _use_one_pipeline(config: Config, dataset: Any, wrappers: list[Any]) -> None:
    """Let ``train_pipeline`` be all steps with which mmdet trains.

    Those of wrappers follow those of the data set inside. If it has none, ``train_pipeline`` is its
    own.
    """
    steps = dataset.get("pipeline") or config.get("train_pipeline")
    if steps:
        more = [step for wrapper in reversed(wrappers) for step in wrapper.get("pipeline") or ()]
        dataset["pipeline"] = [*steps, *more]
    config.train_pipeline = dataset.get("pipeline")


def _nested(dataset: Any) -> Iterator[Any]:
    """A data set of a config and those inside it; of several, the first."""
    yield dataset
    inner = dataset.get("dataset") or next(iter(dataset.get("datasets") or ()), None)
    if isinstance(inner, dict):
        yield from _nested(inner)


def _require_part(base: Config, name: str, key: str) -> None:
    """Raise InputError unless a config has a dotted key."""
    branch = base
    for part in key.split("."):
        branch = branch.get(part) if hasattr(branch, "get") else None
    if branch is None:
        expected = "a complete config of a detector on COCO, as mmdet ships them"
        raise InputError(name, key, "is missing", expected)


def min_size(base: Config) -> int:
    """Shortest side in pixels of the images that a config trains on."""
    return int((base.train_dataloader.dataset.get("filter_cfg") or {}).get("min_size", 0))


def ignored_parts(written: Config) -> list[str]:
    """What a config states that would change mmdet's training, but not the benchmark's."""
    *wrappers, inner = _nested(written.train_dataloader.dataset)
    found = [_wrapper(dataset) for dataset in wrappers]
    used = [dataset.get("pipeline") for dataset in (*wrappers, inner)]
    if inner.get("pipeline") and written.get("train_pipeline") not in (None, *used):
        found.append("train_pipeline, because train_dataloader.dataset has another pipeline")
    if hooks := written.get("custom_hooks"):
        found.append(f"custom_hooks {', '.join(short_name(hook['type']) for hook in hooks)}")
    if written.get("load_from"):
        found.append(f"load_from {written.load_from}")
    return found


def _wrapper(dataset: Any) -> str:
    """A data set around others: its type and arguments. Its steps are used, but on one image."""
    text = short_name(dataset["type"])
    if several := dataset.get("datasets"):
        text += f" of {len(several)} (the pipeline and filter_cfg of the first are taken)"
    if dataset.get("pipeline"):
        text += " (its steps are taken, without any that mixes images)"
    others = dataset.keys() - {"type", "dataset", "datasets", "pipeline", "_scope_"}
    return text + "".join(f" {key}={dataset[key]}" for key in sorted(others))
