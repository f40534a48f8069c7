"""Carry out one run: describe, configure, train (or import), export, write the manifest."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from torch import nn

from icd.data.pixels import memory_of
from icd.data.reading import SMALLEST_SIDE
from icd.experiments.annotation_files import verify as verify_annotations
from icd.experiments.run import ImportedRun, load_run
from icd.files import read_json, sha256, write_json
from icd.process.fetch import verify
from icd.training import plugins  # noqa: F401  (registers what configs name)
from icd.training.base_config import say_what_is_used
from icd.training.checkpoint import load_weights
from icd.training.classes import require_same_classes
from icd.training.config import RunInputs, plain_config, training_config
from icd.training.export import export
from icd.training.hooks.images import OpenedImagesHook
from icd.training.hooks.rehearsal import RehearsalHook
from icd.training.hooks.sessions import Session, SessionsHook, provenance
from icd.training.hooks.snapshot import SnapshotHook
from icd.training.initial import require_initial_weights
from icd.training.manifest import environment
from icd.training.masks import require_masks
from icd.training.origins import forget_other_inputs, input_hashes, require_same_origins
from icd.training.parallel import join, leave
from icd.training.runner import train_model


@dataclass(frozen=True)
class Options:
    """How a run is carried out; none of this changes its weights.

    workers: data-loading processes.
    checkpoint_every: iterations between checkpoints.
    snapshots: number of points at which the bare detector is kept.
    reuse: the run's table reuses results of other runs, whose manifests lie beside the run's own.
        They must come from the same weights.
    deterministic: use deterministic algorithms, which changes rounding.
    rehearse: JSON file for the times of a rehearsal, which is stopped in the middle.
    """

    workers: int = 0
    checkpoint_every: int = 1000
    snapshots: int = 0
    reuse: bool = False
    deterministic: bool = False
    rehearse: Path | None = None


def train(folder: Path, data: Path, survey: Path, manifest: Path, options: Options) -> None:
    """Carry out the run described in ``folder/run.json``.

    Writes into ``folder``: ``config.json`` (the resolved config of a training), ``model.py`` and
    ``model.pth`` (a plain mmdet config and checkpoint), and ``method.pth`` (the weights of the
    method alone) if there is a method. Writes the manifest last.

    Args:
        folder: folder of the run; those of other runs lie beside it.
        data: root folder of the data set.
        survey: JSON file with classes, counts and priors of the data set.
        manifest: JSON file to write, with the run's provenance.
        options: how to carry it out.
    """
    logging.captureWarnings(True)  # warnings go to the log, progress to the terminal
    run = load_run(folder)
    inputs = RunInputs(data, read_json(survey, "the survey of the data set: run icd check"))
    require_masks(run, inputs)
    if (split := run.files_of(run.split)).made:
        verify_annotations(split, data)
    here, initial = environment(), None
    parallel = join(run)
    cost: dict[str, Any] = {}
    sessions: list[Session] = []
    if isinstance(run, ImportedRun):
        model = imported_detector(run, inputs)
        hashes = input_hashes(run, inputs)
    else:
        hashes = input_hashes(run, inputs)
        if is_main_process():
            say_what_is_used(run, inputs.survey.get("smallest_side", SMALLEST_SIDE))
            for source in run.sources:
                require_same_classes(source.folder / "model.pth", inputs.survey["classes"])
        if options.reuse:
            require_same_origins(run, hashes, manifest.parent)
        config = training_config(run, inputs, options.workers, options.checkpoint_every)
        config.merge_from_dict(parallel | {"deterministic": options.deterministic})
        if is_main_process():  # prepare() lets the others wait for it
            initial = require_initial_weights(run, config)
        history = SessionsHook(here, prepare(config, hashes, folder))
        hooks: list[Hook] = [
            history,
            OpenedImagesHook(memory_of(survey)),
            SnapshotHook(run, options.snapshots),
        ]
        if options.rehearse:
            hooks.append(RehearsalHook(options.rehearse))
        model, cost = train_model(run, config, *hooks)
        sessions = history.sessions()
    if is_main_process():
        outputs = {file.name: sha256(file) for file in export(run, inputs, model, folder)}
        files = {"inputs": hashes | {"survey": sha256(survey)}, "outputs": outputs}
        content = {"run": run.id, "description": run.description}
        content |= provenance(sessions, here) | cost | files
        content |= {"initial_weights": initial} if initial else {}
        write_json(manifest, content, compact=True)
    leave()


def prepare(config: Config, hashes: dict[str, str], folder: Path) -> dict[str, Any]:
    """Write the resolved config into the run's folder and remove checkpoints of other inputs.

    Returns:
        The config as plain data.
    """
    settings: dict[str, Any] = to_plain(config.to_dict())
    if is_main_process():
        forget_other_inputs(Path(config.work_dir), hashes)
        write_json(folder / "config.json", settings)
    barrier()
    return settings


def imported_detector(run: ImportedRun, inputs: RunInputs) -> nn.Module:
    """A detector with weights from elsewhere, which must fit the track's classes."""
    init_default_scope("mmdet")  # mmengine's Runner does it for a training
    checkpoint = Path(run.checkpoint)
    if run.zoo:  # the user may have put the file there
        verify(checkpoint, run.sha256 or "")
    require_same_classes(checkpoint, inputs.survey["classes"])
    detector = MODELS.build(plain_config(run, inputs).model)
    load_weights(detector, checkpoint)
    return detector


def to_plain(tree: Any) -> Any:
    """Nested configs as plain data for JSON."""
    if isinstance(tree, dict):
        return {str(key): to_plain(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [to_plain(value) for value in tree]
    return tree if isinstance(tree, (str, int, float, bool, type(None))) else str(tree)
