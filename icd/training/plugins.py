"""Imports all modules whose classes configs name, so that mmengine's registries find them."""

from icd.training import (
    accumulate,
    dataset,
    distiller,
    loading,
    sampler,
    two_optimizers,
    workers,
)
from icd.training.hooks import (
    inherit,
    interrupt,
    pretrained,
    progress,
    resume,
    seed,
    strict_resume,
)

MODULES = (
    accumulate,
    dataset,
    distiller,
    loading,
    sampler,
    two_optimizers,
    workers,
    inherit,
    interrupt,
    pretrained,
    progress,
    resume,
    seed,
    strict_resume,
)
