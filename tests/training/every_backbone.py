"""One of the two processes of test_every_backbone.py.

Started by torchrun with a folder as argument. It trains each config of ``configs.pt`` there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from icd.training import train  # noqa: F401  (registers all that configs name)
from icd.training.distiller import unwrap
from icd.training.parallel import join, leave
from icd.training.runner import PreparedRunner
from tests.lab import differing, quick_configs, snapshot


class Start(Hook):
    """Keeps a copy of the initial state of the model."""

    state: dict[str, Tensor]

    def before_train(self, runner: Runner) -> None:
        self.state = snapshot(unwrap(runner.model))


def trained(config: Config) -> dict[str, set[str]]:
    """Names of a model's parameters: all, those that training changes, and those frozen."""
    runner, start = PreparedRunner.from_cfg(config), Start()
    runner.register_hook(start)
    runner.train()
    model = unwrap(runner.model)
    named = dict(model.named_parameters())
    return {
        "all": {*named},
        "moved": named.keys() & {*differing(start.state, snapshot(model))},
        "frozen": {name for name, parameter in named.items() if not parameter.requires_grad},
    }


def main(folder: Path) -> None:
    """Train all; write ``outcomes.pt`` beside the configs."""
    run: Any = SimpleNamespace(processes=2, folder=folder)
    parallel = join(run)
    configs = torch.load(folder / "configs.pt", weights_only=False)
    with quick_configs():
        outcomes = {name: trained(Config(config | parallel)) for name, config in configs.items()}
    if is_main_process():
        torch.save(outcomes, folder / "outcomes.pt")
    leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
