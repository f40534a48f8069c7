"""A teacher with random weights in the place of a trained one."""

from __future__ import annotations

import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from icd.experiments.run import ImportedRun, TrainedRun
from icd.training import plugins  # noqa: F401  (registers what configs name)
from icd.training.config import RunInputs, plain_config
from icd.training.export import export


def place_untrained(run: TrainedRun | ImportedRun, inputs: RunInputs) -> None:
    """Export a detector with random weights into the folder of a run."""
    init_default_scope("mmdet")
    torch.manual_seed(0)
    detector = MODELS.build(plain_config(run, inputs).model)
    if isinstance(run, TrainedRun):  # it has no initial weights to download
        detector.init_weights()  # SSD, for one, only allocates some of its weights
    export(run, inputs, detector, run.folder)
