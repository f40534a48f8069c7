"""One of the two processes of test_parallel.py: losses and gradients of its images.

Started by torchrun with a folder as argument.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.registry import MODEL_WRAPPERS, init_default_scope
from torch import Tensor, nn

from icd.training import train  # noqa: F401  (registers all that configs name)
from icd.training.accumulate import step
from icd.training.distiller import unwrap
from icd.training.parallel import WRAPPER, join, leave, share_counts, unused_parameters


def freeze_norms(model: nn.Module) -> nn.Module:
    """Batch norm with the statistics it has, which processes do not share."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return model


class Backward:
    """In place of an optimiser: leaves the gradients behind."""

    def update_params(self, loss: Tensor) -> None:
        loss.backward()


def losses_and_gradients(model: Any, data: dict, accumulate: int = 1) -> dict:
    """Of a model, in a wrapper or not, and of a batch as the data loader gives it."""
    inside, optimiser = unwrap(model), Backward()
    if accumulate == 1:
        total, log = inside.parse_losses(
            model(**inside.data_preprocessor(data, training=True), mode="loss")
        )
        optimiser.update_params(total)
    else:
        log = step(model, data, optimiser, accumulate)
    named = inside.named_parameters()
    return {
        "losses": {name: value.detach() for name, value in log.items()},
        "gradients": {name: p.grad for name, p in named if p.requires_grad},
    }


def main(folder: Path) -> None:
    """Write one file for each case that lies in the folder, and process."""
    init_default_scope("mmdet")
    rank = int(os.environ["RANK"])
    run: Any = SimpleNamespace(processes=2, folder=folder)
    join(run)
    for file in sorted(folder.glob("*.case")):
        case = torch.load(file, weights_only=False)
        model = freeze_norms(case["model"].train())
        accumulate = case.get("accumulate", 1)
        share_counts(model, accumulate)
        wrapped = MODEL_WRAPPERS.build({**WRAPPER, **unused_parameters(model), "module": model})
        images = slice(2 * rank, 2 * rank + 2)
        data = {key: case["data"][key][images] for key in ("inputs", "data_samples")}
        torch.save(losses_and_gradients(wrapped, data, accumulate), file.with_suffix(f".{rank}"))
    leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
