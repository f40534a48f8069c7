"""Train one run, or take over a teacher from elsewhere, and leave a plain mmdet detector."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn

from icd.experiments.run import ImportedRun, Run, TrainedRun, load_run
from icd.experiments.sources import known_inputs, require_same_weights, sharing
from icd.files import read_json, sha256, write_json, write_text
from icd.process import interrupt  # noqa: F401  (registers what configs name)
from icd.process.fetch import verify
from icd.training import dataset, loading, optim, sampling  # noqa: F401
from icd.training.checkpoint import load_weights, write_weights
from icd.training.config import Inputs, plain_config, training_config
from icd.training.cpu import at_full_speed
from icd.training.distiller import bare_detector, unwrap
from icd.training.hooks import inherit, pretrained, progress, resume  # noqa: F401
from icd.training.hooks.account import AccountHook
from icd.training.hooks.resume import find
from icd.training.hooks.snapshot import SnapshotHook
from icd.training.manifest import environment
from icd.training.masks import require_masks
from icd.training.parallel import join, leave, share_counts
from icd.training.precision import use_bfloat16


def train(
    folder: Path,
    data: Path,
    survey: Path,
    manifest: Path,
    workers: int,
    checkpoint_every: int,
    snapshots: int = 0,
    reuse: bool = False,
) -> None:
    """Carry out the run described in ``folder/run.json``.

    Writes ``model.py`` and ``model.pth`` (a plain mmdet config and checkpoint) into ``folder``,
    ``method.pth`` (the weights of the method alone) if there is one, and the manifest last.

    Args:
        folder: of the run; those of other runs lie beside it.
        data: root of the data set.
        survey: JSON with classes, counts and priors of the data set.
        manifest: where to write the run's provenance.
        workers: data-loading processes.
        checkpoint_every: iterations between checkpoints.
        snapshots: number of points at which the bare detector is kept.
        reuse: its table takes over other runs, whose provenance lies beside its own: they must
            have come from the same weights.
    """
    logging.captureWarnings(True)  # warnings go to the log, progress to the terminal
    run = load_run(folder)
    inputs = Inputs(data, read_json(survey, "the survey of the data set: run icd check"))
    require_masks(run, inputs)
    provenance = {"run": run.id, "description": run.description, **environment()}
    parallel = join(run)
    if isinstance(run, ImportedRun):
        detector = imported_detector(run, inputs)
        hashes = {"checkpoint": sha256(Path(run.checkpoint))}
    else:
        hashes = input_hashes(run, inputs)
        if reuse:
            known = sharing(run, known_inputs(manifest.parent))
            require_same_weights({**known, run.id: (run, hashes)})
        config = training_config(run, inputs, workers, checkpoint_every)
        config.merge_from_dict(parallel)
        if is_main_process():
            forget_other_inputs(Path(config.work_dir), hashes)
        barrier()
        with at_full_speed():
            model, account = train_model(run, config, SnapshotHook(run, snapshots))
        detector = bare_detector(model)
        provenance |= {"config": to_plain(config.to_dict()), **account}
    if is_main_process():
        if run.distils:
            write_weights(folder / "method.pth", model.method, run=run.id)
        export(run, inputs, detector, folder)
        write_json(manifest, provenance | {"inputs": hashes})
    leave()


class FormattedRunner(Runner):
    """mmengine's Runner; its model has its memory format before it is wrapped for data-parallelism.

    The wrapper lays out the buffers in which it averages gradients as the parameters are then. Of
    parameters that change their format later, it takes the elements of the first iteration's
    gradients for one another.
    """

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Called by the Runner."""
        if self.cfg.channels_last:
            model.to(memory_format=torch.channels_last)
        return super().wrap_model(model_wrapper_cfg, model)


def train_model(run: Run, config: Config, *hooks: Hook) -> tuple[nn.Module, dict[str, Any]]:
    """Train with mmengine's Runner, from the last good checkpoint if there is one.

    Returns:
        The trained model, and what its training has cost (see :class:`AccountHook`).
    """
    found = find(Path(config.work_dir), run.id)
    start = {"load_from": str(found.file), "resume": True} if found.file else {}
    runner, account = FormattedRunner.from_cfg(Config(config.to_dict() | start)), AccountHook()
    found.tell(runner)
    for hook in (account, *hooks):
        runner.register_hook(hook)
    if config.linear_rule != 1:
        runner.logger.info(f"linear rule: learning rate multiplied by {config.linear_rule:g}")
    model = unwrap(runner.model)
    share_counts(model)
    if config.precision == "bfloat16":
        use_bfloat16(model)
    runner.train()
    return model, account.account()


def input_hashes(run: Run, inputs: Inputs) -> dict[str, str]:
    """The sha256 of the annotations and weights that a training has from elsewhere.

    Its name says what they are; their content may differ, as that of weights trained on another
    processor does.
    """
    sources = run.sources_by_role.items()
    weights = {role: sha256(source.folder / "model.pth") for role, source in sources}
    return {"annotations": inputs.survey["splits"][run.split]["sha256"], **weights}


def forget_other_inputs(work: Path, hashes: dict[str, str]) -> None:
    """Remove checkpoints in ``work`` of a training on other annotations or from other weights.

    A training that restarts because a file has changed must not resume from what came of the old
    one.
    """
    record = work / "inputs.json"
    if work.exists() and not (record.exists() and json.loads(record.read_text()) == hashes):
        shutil.rmtree(work)
    write_json(record, hashes)


def imported_detector(run: ImportedRun, inputs: Inputs) -> nn.Module:
    """A detector with weights from elsewhere, which must fit the track's classes."""
    init_default_scope("mmdet")  # else done by mmengine's Runner
    checkpoint = Path(run.checkpoint)
    if run.zoo:  # however the file came there
        verify(checkpoint, run.sha256 or "")
    detector = MODELS.build(plain_config(run, inputs).model)
    load_weights(detector, checkpoint)
    return detector


def export(
    run: TrainedRun | ImportedRun, inputs: Inputs, detector: nn.Module, folder: Path
) -> None:
    """Write the detector as mmdet's own checkpoint and config; neither needs this package."""
    classes = {"classes": inputs.survey["classes"]}
    write_weights(folder / "model.pth", detector, dataset_meta=classes, run=run.id)
    write_text(folder / "model.py", plain_config(run, inputs).pretty_text)


def to_plain(tree: Any) -> Any:
    """Nested configs as JSON knows them."""
    if isinstance(tree, dict):
        return {str(key): to_plain(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [to_plain(value) for value in tree]
    return tree if isinstance(tree, (str, int, float, bool, type(None))) else str(tree)
