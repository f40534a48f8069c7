"""Data-parallel training: several processes compute what one process computes on the whole batch.

PyTorch averages gradients over processes. For a loss that is a mean over images, this gives the
gradient of the whole batch, because all processes have the same number of images. For a sum over
objects, the normaliser must be averaged over processes, too. Most heads of mmdet and the method's
auxiliary task do so themselves. :func:`share_counts` handles the heads that inherit AnchorHead's
loss.

Two-stage heads, SOLOv2 and the masks of CondInst stay as in mmdet, which counts per process. PKD
also standardises features over the images of one process.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmengine.dist import get_world_size
from mmengine.model import MMDistributedDataParallel
from torch import distributed, nn

from icd.errors import InputError
from icd.experiments.run import Run
from icd.methods.icd.auxiliary import mean_count
from icd.process.signals import die_with_parent

# The wrapper of a model that several processes train. Every parameter takes part in every
# iteration. The model itself knows its device.
WRAPPER = {
    "type": MMDistributedDataParallel.__name__,
    "device_ids": None,
    "broadcast_buffers": False,
    "find_unused_parameters": False,
}


def join(run: Run) -> dict[str, Any]:
    """Join the processes that train a run together.

    Returns:
        The arguments that mmengine's Runner needs for this.

    Raises:
        InputError: the number of processes differs from the run's ``devices``, which share its
            batch.
    """
    processes = int(os.environ.get("WORLD_SIZE", 1))
    devices = run.processes or processes  # None for an imported detector
    if processes != devices:
        problem = f"is {devices}, but {processes} processes train"
        raise InputError(run.folder / "run.json", "devices", problem, "one process per device")
    if processes == 1:
        return {}
    die_with_parent()  # its launcher, which holds the GPUs' locks
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    return {"launcher": "pytorch", "model_wrapper_cfg": dict(WRAPPER)}


def leave() -> None:
    """Leave the process group that :func:`join` created."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def share_counts(model: nn.Module) -> None:
    """Make mmdet's anchor heads average the number of positive anchors over processes."""
    if get_world_size() == 1:
        return
    for module in model.modules():
        if isinstance(module, AnchorHead) and type(module).loss_by_feat is AnchorHead.loss_by_feat:
            module.get_targets = _with_mean_count(module.get_targets)


def _with_mean_count(get_targets: Any) -> Any:
    def wrapped(*args: Any, **kwargs: Any) -> tuple:
        *targets, count = get_targets(*args, **kwargs)
        device = targets[0][0].device
        return (*targets, mean_count(torch.tensor(count, device=device)).item())

    return wrapped
