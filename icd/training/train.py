"""Train one run, or take over a teacher from elsewhere, and leave a plain mmdet detector."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn

from icd.files import atomic, write_json, write_text
from icd.method import icd  # noqa: F401  (registers the method, as the imports below the rest)
from icd.suite.run import Run, load_run
from icd.training import optim, progress, sampling  # noqa: F401
from icd.training.checkpoint import load_weights
from icd.training.config import Inputs, plain_config, training_config
from icd.training.distiller import Distiller
from icd.training.inherit import unwrap
from icd.training.manifest import environment, peak_memory_mib


def train(
    folder: Path, data: Path, survey: Path, manifest: Path, workers: int, checkpoint_every: int
) -> None:
    """Carry out the run described in ``folder/run.json``.

    Writes ``model.py`` and ``model.pth`` (a plain mmdet config and checkpoint) into ``folder``,
    and the manifest last.

    Args:
        folder: of the run; those of other runs lie beside it.
        data: root of the data set.
        survey: JSON with classes, counts and priors of the data set.
        manifest: where to write the run's provenance.
        workers: data-loading processes.
        checkpoint_every: iterations between checkpoints.
    """
    start, run = time.monotonic(), load_run(folder)
    inputs = Inputs(data, json.loads(survey.read_text()))
    if run.imported:
        config, detector = None, imported_detector(run, inputs)
    else:
        logging.captureWarnings(True)  # warnings go to the log, progress to the terminal
        config = training_config(run, inputs, workers, checkpoint_every)
        detector = train_detector(config)
    export(run, inputs, detector, folder)
    write_json(
        manifest,
        {
            "run": run.id,
            "description": run.description,
            "config": to_plain(config.to_dict()) if config else None,
            "seconds": time.monotonic() - start,
            "peak_memory_mib": peak_memory_mib(),
            **environment(),
        },
    )


def train_detector(config: Config) -> nn.Module:
    """Train with mmengine's Runner, from the last checkpoint if there is one."""
    runner = Runner.from_cfg(config)
    model = unwrap(runner.model)
    if config.get("channels_last"):
        model.to(memory_format=torch.channels_last)
    runner.train()
    return model.student if isinstance(model, Distiller) else model


def imported_detector(run: Run, inputs: Inputs) -> nn.Module:
    """A detector with the user's own weights, which must fit the track's classes."""
    init_default_scope("mmdet")  # else done by mmengine's Runner
    detector = MODELS.build(plain_config(run, inputs).model)
    load_weights(detector, Path(run.description["checkpoint"]))
    return detector


def export(run: Run, inputs: Inputs, detector: nn.Module, folder: Path) -> None:
    """Write the detector as mmdet's own checkpoint and config; neither needs this package."""
    checkpoint = {
        "meta": {"dataset_meta": {"classes": inputs.survey["classes"]}, "run": run.id},
        "state_dict": {name: value.cpu() for name, value in detector.state_dict().items()},
    }
    with atomic(folder / "model.pth") as temporary:
        torch.save(checkpoint, temporary)
    write_text(folder / "model.py", plain_config(run, inputs).pretty_text)


def to_plain(tree: Any) -> Any:
    """Nested configs as JSON knows them."""
    if isinstance(tree, dict):
        return {str(key): to_plain(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [to_plain(value) for value in tree]
    return tree if isinstance(tree, (str, int, float, bool, type(None))) else str(tree)
