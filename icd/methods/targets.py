"""Ground truth of a batch, as every distillation method receives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from icd.methods.tokens import Size


@dataclass(frozen=True)
class Targets:
    """Annotations of N augmented images.

    boxes: N tensors [n_i, 4], corners x1 y1 x2 y2 in pixels of the augmented image.
    labels: N tensors [n_i] of class indices from 0.
    image_sizes: N times (height, width) in pixels, without padding.
    padded_size: (height, width) in pixels of the batch.
    """

    boxes: Sequence[Tensor]
    labels: Sequence[Tensor]
    image_sizes: Sequence[Size]
    padded_size: Size
