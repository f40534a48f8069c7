"""Imports all modules whose classes configs name, so that mmengine's registries find them."""

from icd.training import dataset, distiller, loading, optim, sampling, workers
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
    dataset,
    distiller,
    loading,
    optim,
    sampling,
    workers,
    inherit,
    interrupt,
    pretrained,
    progress,
    resume,
    seed,
    strict_resume,
)
