"""Data-parallel training: several processes compute what one would with all of the batch.

PyTorch averages gradients over processes, as if each loss were averaged over processes. That is the
loss of the whole batch where a loss is a mean over images, since all processes have equally many.
Where it is a sum over objects, what it is divided by has to be averaged, too. Most heads of mmdet
and the method's auxiliary task do so themselves; :func:`share_counts` sees to others. Two-stage
heads, SOLOv2 and CondInst's masks are left as mmdet has them, which counts by the process; so is
PKD, which standardises features over the images of a process.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import torch
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmengine.dist import get_world_size
from mmengine.model import MMDistributedDataParallel
from torch import distributed, nn

from icd.errors import InputError
from icd.experiments.run import Run
from icd.methods.icd.auxiliary import mean_count

# The wrapper of a model that is trained by several processes: every parameter takes part in every
# iteration. Which device it lies on is known by the model itself.
WRAPPER = {
    "type": MMDistributedDataParallel.__name__,
    "device_ids": None,
    "broadcast_buffers": False,
    "find_unused_parameters": False,
}


def join(run: Run) -> dict[str, Any]:
    """Join the processes that train a run together; what mmengine's Runner needs to know of it.

    Raises:
        InputError: there are not as many as the run was described with, which share its batch.
    """
    processes = int(os.environ.get("WORLD_SIZE", 1))
    devices = run.processes or processes  # a detector from elsewhere has none
    if processes != devices:
        problem = f"is {devices}, but {processes} processes train"
        raise InputError(run.folder / "run.json", "devices", problem, "one process a device")
    if processes == 1:
        return {}
    _die_with_parent()
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    return {"launcher": "pytorch", "model_wrapper_cfg": dict(WRAPPER)}


def leave() -> None:
    """The opposite of :func:`join`."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def share_counts(model: nn.Module) -> None:
    """Let heads of mmdet that count positive anchors by the process count those of all."""
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


def _die_with_parent() -> None:
    """Ask the kernel to end this process with its launcher, whose cards it uses."""
    import ctypes

    set_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
    ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
