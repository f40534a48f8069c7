"""Imports all modules whose classes configs name, so that mmengine's registries find them."""

from icd.training import (
    accumulate,
    clipping,
    dataset,
    distiller,
    focal_loss,
    loading,
    norm_decay,
    sampler,
    two_optimizers,
    workers,
)
from icd.training.hooks import (
    inherit,
    interrupt,
    losses,
    pretrained,
    progress,
    resume,
    seed,
    strict_resume,
)

MODULES = (
    accumulate,
    clipping,
    dataset,
    distiller,
    focal_loss,
    loading,
    norm_decay,
    sampler,
    two_optimizers,
    workers,
    inherit,
    interrupt,
    losses,
    pretrained,
    progress,
    resume,
    seed,
    strict_resume,
)
