"""Initial weights: if nothing fits, that is an error; the number of loaded tensors is logged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmdet.registry import WEIGHT_INITIALIZERS
from mmengine.logging import print_log
from mmengine.model import PretrainedInit
from mmengine.runner import CheckpointLoader, load_state_dict
from torch import Tensor, nn

from icd.errors import InputError
from icd.training.checkpoint import read_weights

# PyTorch's switch that no torch.load can turn off; without it mmengine falls back to unpickling.
WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


@WEIGHT_INITIALIZERS.register_module(name="Pretrained")
class CountedPretrained(PretrainedInit):
    """``init_cfg: {type: Pretrained, checkpoint: ..., prefix: ...}`` in mmdet's scope."""

    def __call__(self, module: nn.Module) -> None:
        """Load what fits into ``module``, e.g. a backbone.

        Raises:
            InputError: the file cannot be read, or nothing in it fits.
        """
        weights = pretrained_weights(self.checkpoint, self.prefix)
        own = module.state_dict()
        fitting = [n for n in own if n in weights and weights[n].shape == own[n].shape]
        if not fitting:
            raise InputError(
                self.checkpoint,
                self.prefix or "state_dict",
                f"nothing in it fits the {type(module).__name__}",
                "weights of this architecture",
            )
        print_log(
            f"{type(module).__name__}: {len(fitting)} of {len(own)} tensors initialised from "
            f"{self.checkpoint}, which has {len(weights)}",
            logger="current",
        )
        load_state_dict(module, weights, logger="current")  # and says what does not fit


def pretrained_weights(checkpoint: str, prefix: str | None) -> dict[str, Tensor]:
    """The tensors of a file, or of a name that mmengine knows where to download.

    Args:
        checkpoint: a path, a URL, or a name like ``torchvision://resnet50``.
        prefix: the part to take, e.g. ``backbone``; None takes all.
    """
    if "://" in checkpoint:
        with weights_only():
            content = CheckpointLoader.load_checkpoint(checkpoint, map_location="cpu")
        weights = content.get("state_dict", content)
    else:
        weights = read_weights(Path(checkpoint).expanduser())
    start = f"{prefix.removesuffix('.')}." if prefix else ""
    return {n.removeprefix(start): tensor for n, tensor in weights.items() if n.startswith(start)}


@contextmanager
def weights_only() -> Iterator[None]:
    """Within the block, no load executes code from the file."""
    before = os.environ.get(WEIGHTS_ONLY)
    os.environ[WEIGHTS_ONLY] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[WEIGHTS_ONLY]
        else:
            os.environ[WEIGHTS_ONLY] = before
