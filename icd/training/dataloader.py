"""Data loading as mmengine configs: the order of images, and the processes that load them."""

from __future__ import annotations

from typing import Any

import torch

from icd.experiments.recipe import Recipe


def sampler(recipe: Recipe, seed: int) -> dict[str, Any]:
    """The sampler of a training: an endless stream of images that depends on the seed alone."""
    stream = {"shuffle": True, "seed": seed}
    if recipe.group_by_aspect:
        return {"type": "GroupedSampler", "batch": recipe.batch_size, **stream}
    return {"type": "PlacedSampler", **stream}


def loading(workers: int, seed: int) -> dict[str, Any]:
    """The keys of a data loader that decide how fast it loads, and none of its images.

    Batches for a GPU lie in pinned memory, from which they are copied while the GPU computes.

    Args:
        workers: data-loading processes; 0 loads in the process itself.
        seed: seed of random numbers in the data-loading processes.
    """
    settings: dict[str, Any] = {"num_workers": workers, "pin_memory": torch.cuda.is_available()}
    if workers:
        settings["persistent_workers"] = True
        settings["worker_init_fn"] = {
            "type": "uninterrupted_worker",
            "num_workers": workers,
            "seed": seed,
        }
    return settings


def copied_asynchronously(model: dict[str, Any]) -> dict[str, Any]:
    """The config of a detector whose images are copied to the GPU without waiting for it."""
    if "data_preprocessor" not in model:
        return model
    return model | {"data_preprocessor": model["data_preprocessor"] | {"non_blocking": True}}
