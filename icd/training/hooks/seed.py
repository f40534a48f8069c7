"""The random state of each iteration."""

from __future__ import annotations

import torch
from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from icd.seeds import seed_of


@HOOKS.register_module()
class SeedByIteration(Hook):
    """Sets PyTorch's random state for each iteration, because some heads sample boxes.

    Args:
        seed: seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Seed ``torch`` by run, process and iteration."""
        torch.manual_seed(seed_of(self.seed, get_rank(), runner.iter))
