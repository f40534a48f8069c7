"""Imports all modules whose classes configs name, so that mmengine's registries find them."""

from icd.training import (
    accumulate,
    clipping,
    dataset,
    decoder_alone,
    distiller,
    focal_loss,
    loading,
    norm_decay,
    sampler,
    two_optimizers,
    workers,
)
from icd.training.hooks import (
    decoder,
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
    decoder_alone,
    distiller,
    focal_loss,
    loading,
    norm_decay,
    sampler,
    two_optimizers,
    workers,
    decoder,
    inherit,
    interrupt,
    losses,
    pretrained,
    progress,
    resume,
    seed,
    strict_resume,
)
