"""What a run leaves: a plain mmdet detector, and the weights of its method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from icd.experiments.run import DecoderRun, ImportedRun, TrainedRun
from icd.files import write_json, write_text
from icd.training.checkpoint import write_weights
from icd.training.config import RunInputs, plain_config
from icd.training.distiller import Distiller, bare_detector

DETECTOR, METHOD, CONFIG = "model.pth", "method.pth", "model.py"
DIAGNOSIS = "decoder.json"


def export(
    run: TrainedRun | ImportedRun, inputs: RunInputs, model: nn.Module, folder: Path
) -> list[Path]:
    """Write the detector as mmdet's own checkpoint and config; neither needs this package.

    Args:
        run: the run that the weights belong to.
        inputs: names the classes.
        model: a detector, or a Distiller around it.
        folder: where to write.

    Returns:
        The files of weights: ``model.pth`` and, if there is a method, ``method.pth``.
    """
    files = [folder / DETECTOR]
    if isinstance(model, Distiller):
        files.append(folder / METHOD)
        write_weights(folder / METHOD, model.method, run=run.id)
    classes = {"classes": inputs.survey["classes"]}
    write_weights(folder / DETECTOR, bare_detector(model), dataset_meta=classes, run=run.id)
    write_text(folder / CONFIG, plain_config(run, inputs).pretty_text)
    return files


def export_decoder(
    run: DecoderRun, inputs: RunInputs, method: Any, measured: dict[str, Any], folder: Path
) -> list[Path]:
    """Write the weights of a decoder that was trained alone, and how well it does.

    Returns:
        Both files.
    """
    files = [folder / run.weights.name, folder / DIAGNOSIS]
    classes = {"classes": inputs.survey["classes"]}
    write_weights(files[0], method.decoder_parts(), dataset_meta=classes, run=run.id)
    write_json(files[1], measured)
    return files
