"""Data-parallel training: several processes compute what one process computes on the whole batch.

PyTorch averages gradients over processes. For a loss that is a mean over images, this gives the
gradient of the whole batch, because all processes have the same number of images. For a sum over
objects, the normaliser must be averaged over processes, too (:mod:`icd.methods.shares`). Most heads
of mmdet and the method's auxiliary task do so themselves. :func:`share_counts` handles the heads
that inherit AnchorHead's loss, and gradient accumulation.

Two-stage heads, SOLOv2 and the masks of CondInst stay as in mmdet, which counts per process (with
accumulation: per share). GFL sums scores instead of counting objects, and a DETR assigns objects
to its predictions, so both average over processes, but not over the shares of one. PKD also
standardises features over the images of one share.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from mmdet.models.dense_heads import atss_head, condinst_head, fcos_head
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.models.detectors.single_stage_instance_seg import SingleStageInstanceSegmentor
from mmengine.dist import get_world_size
from mmengine.model import MMDistributedDataParallel
from torch import distributed, nn

from icd.errors import InputError
from icd.experiments.run import Run
from icd.methods.shares import mean_count
from icd.process.signals import die_with_parent
from icd.training.distiller import bare_detector

# The wrapper of a model that several processes train. The model itself knows its device.
WRAPPER = {
    "type": MMDistributedDataParallel.__name__,
    "device_ids": None,
    "broadcast_buffers": False,
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


def unused_parameters(model: nn.Module) -> dict[str, bool]:
    """The wrapper's argument for models of which a part may be idle in an iteration.

    CondInst and SOLOv2 predict masks only where an object is assigned to a cell. If there is none
    in the images of one process, its mask branch has no gradient. All others use every parameter
    in every iteration, and are spared the search.
    """
    idle = isinstance(bare_detector(model), SingleStageInstanceSegmentor)
    return {"find_unused_parameters": idle}


def share_counts(model: nn.Module, accumulate: int = 1) -> None:
    """Make mmdet's dense heads average their counts over all shares of a batch."""
    if get_world_size() * accumulate == 1:
        return
    for module in model.modules():
        if isinstance(module, AnchorHead) and type(module).loss_by_feat is AnchorHead.loss_by_feat:
            module.get_targets = _with_mean_count(module.get_targets)
    if accumulate > 1:
        for heads in (atss_head, condinst_head, fcos_head):  # it averages over processes alone
            heads.reduce_mean = mean_count


def _with_mean_count(get_targets: Any) -> Any:
    def wrapped(*args: Any, **kwargs: Any) -> tuple:
        *targets, count = get_targets(*args, **kwargs)
        device = targets[0][0].device
        return (*targets, mean_count(torch.tensor(count, device=device)).item())

    return wrapped
