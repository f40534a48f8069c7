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

from icd.data.reading import SMALLEST_SIDE
from icd.experiments.annotation_files import verify as verify_annotations
from icd.experiments.run import DecoderRun, ImportedRun, Run, Training, load_run
from icd.experiments.trackers import NO_TRACKING, Tracking
from icd.files import read_json, sha256, write_json
from icd.process.fetch import verify
from icd.process.signals import tell
from icd.training import plugins  # noqa: F401  (registers what configs name)
from icd.training.checkpoint import load_weights
from icd.training.classes import require_same_classes
from icd.training.config import LOG_EVERY, RunInputs, plain_config, training_config
from icd.training.export import export, export_decoder
from icd.training.finished import FOLDER, MANIFEST, empty_folder, is_finished, publish
from icd.training.hooks.diagnosis import DiagnosisHook
from icd.training.hooks.rehearsal import RehearsalHook
from icd.training.hooks.sessions import SessionsHook, provenance
from icd.training.hooks.snapshot import SnapshotHook
from icd.training.initial import require_initial_weights
from icd.training.kept import adopt
from icd.training.manifest import environment
from icd.training.masks import require_masks
from icd.training.origins import forget_other_inputs, input_hashes, require_same_origins
from icd.training.parallel import join, leave
from icd.training.runner import train_model
from icd.training.what_is_used import say_what_is_used


@dataclass(frozen=True)
class Options:
    """How a run is carried out; none of this changes its weights.

    workers: data-loading processes.
    checkpoint_every: iterations between checkpoints.
    snapshots: number of points at which the bare detector is kept.
    reuse: the run's table reuses results of other runs, whose manifests lie beside the run's own.
        They must come from the same weights. Weights that are committed are not trained again.
    deterministic: use deterministic algorithms, which changes rounding.
    rehearse: JSON file for the times of a rehearsal, which is stopped in the middle.
    tracking: the experiment trackers that follow a training.
    """

    workers: int = 0
    checkpoint_every: int = 1000
    snapshots: int = 0
    reuse: bool = False
    deterministic: bool = False
    rehearse: Path | None = None
    tracking: Tracking = NO_TRACKING


def train(folder: Path, data: Path, survey: Path, manifest: Path, options: Options) -> None:
    """Carry out the run described in ``folder/run.json``.

    Writes into ``folder``: ``config.json`` (the resolved config of a training), ``model.py`` and
    ``model.pth`` (a plain mmdet config and checkpoint), and ``method.pth`` (the weights of the
    method alone) if there is a method. A decoder that is trained alone leaves ``decoder.pth`` and
    ``decoder.json`` (how well it does) instead. Writes the manifest last. If they were written
    before and are lost, they are restored, see :mod:`icd.training.finished`.

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
    here, parallel = environment(), join(run)
    runs, hashes = survey.with_name("runs"), {}
    if isinstance(run, ImportedRun):
        model, origin = imported_detector(run, inputs), here
        hashes = input_hashes(run, inputs, runs)
    else:
        if is_main_process():  # one process reads the images
            hashes = input_hashes(run, inputs, runs)
            if options.reuse:
                require_same_origins(run, hashes, manifest.parent)
        config, initial = prepare(run, inputs, hashes, parallel, options)
        if is_finished(folder) and not options.rehearse:
            return restore(run, folder, manifest)
        model, origin = trained_model(run, config, here, options)
        origin |= {"initial_weights": initial} if initial else {}
    if is_main_process():
        finished = empty_folder(folder)
        if isinstance(run, DecoderRun):
            files = export_decoder(run, inputs, model.method, origin["diagnosis"], finished)
        else:
            files = export(run, inputs, model, finished)
        outputs = {file.name: sha256(file) for file in files}
        hashes |= {"survey": sha256(survey)}
        content = {"run": run.id, "description": run.description, **origin}
        content |= {"inputs": hashes, "outputs": outputs}
        if names := inputs.survey["splits"][run.split].get("left_out"):
            content["left_out"] = names
        write_json(finished / MANIFEST, content, compact=True)
        publish(folder, manifest)
    leave()


def prepare(
    run: Training,
    inputs: RunInputs,
    hashes: dict[str, str],
    parallel: dict[str, Any],
    options: Options,
) -> tuple[Config, dict[str, str]]:
    """Check what a training starts from, and remove checkpoints of other inputs.

    Returns:
        The resolved config, which is also written into the run's folder, and the sha256 of the
        backbone's weights by name (on the main process).
    """
    config = training_config(run, inputs, options.workers, options.checkpoint_every)
    config.merge_from_dict(parallel | {"deterministic": options.deterministic})
    initial: dict[str, str] = {}
    if is_main_process():
        say_what_is_used(run, inputs.survey.get("smallest_side", SMALLEST_SIDE))
        for source in run.sources:
            require_same_classes(source.weights, inputs.survey["classes"])
        initial = require_initial_weights(run, config)
        forget_other_inputs(Path(config.work_dir), hashes)
        write_json(run.folder / "config.json", to_plain(config.to_dict()))
        if options.reuse and not options.rehearse:
            adopt(run, hashes)
    barrier()
    return config, initial


def trained_model(
    run: Training,
    config: Config,
    here: dict[str, Any],
    options: Options,
) -> tuple[nn.Module, dict[str, Any]]:
    """Train, from the last checkpoint if there is one.

    Args:
        here: environment of this process.

    Returns:
        The model, and its provenance and cost for the manifest.
    """
    history = SessionsHook(here, to_plain(config.to_dict()))
    diagnosis = DiagnosisHook(LOG_EVERY)
    hooks: list[Hook] = [history, diagnosis, SnapshotHook(run, options.snapshots)]
    if options.rehearse:
        hooks.append(RehearsalHook(options.rehearse))
    model, cost = train_model(run, config, *hooks, tracking=options.tracking)
    return model, provenance(history.sessions(), here) | cost | {"diagnosis": diagnosis.summary}


def restore(run: Run, folder: Path, manifest: Path) -> None:
    """Publish the results of a run that was finished before, instead of training it again."""
    if is_main_process():
        time = read_json(folder / FOLDER / MANIFEST, "the manifest of a run")["time"]
        tell(f"{run.id}: was finished ({time}); restored. To train it again, delete {folder}")
        publish(folder, manifest)
    leave()


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
