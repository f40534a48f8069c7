"""Instance queries, made of annotated instances and sampled fakes, and encoded (section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from icd.methods.icd.sampling import QuerySamples
from icd.methods.tokens import Targets, pad

POSITION_BANDS = 64  # frequencies per sine and cosine of each axis
SCALE_BINS = 5  # coarse classes of width and of height


@dataclass(frozen=True)
class Queries:
    """K queries for each of N images: annotated instances, then fakes, then unused slots.

    Places and sizes are fractions of the image, except ``pixel_sizes``.

    labels: [N, K] class indices.
    centres: [N, K, 2], jittered.
    sizes, pixel_sizes: [N, K, 2] widths and heights.
    sides: [N, K, 4] distances from the centre to the left, top, right and bottom side: the target
        of localisation.
    real: [N, K] bool, True for annotated instances.
    valid: [N, K] bool, False for unused slots.
    """

    labels: Tensor
    centres: Tensor
    sizes: Tensor
    pixel_sizes: Tensor
    sides: Tensor
    real: Tensor
    valid: Tensor


def make_queries(targets: Targets, samples: Sequence[QuerySamples], jitter_range: float) -> Queries:
    """Replace the first fakes of each image by its annotated instances, jitter, pad to K.

    All fields are zero in unused slots.
    """
    counts, real_counts = [len(own.labels) for own in samples], [len(own) for own in targets.boxes]
    slots, device = max(counts), targets.boxes[0].device
    real, valid = (
        torch.tensor(np.arange(slots) < np.array(some)[:, None]).to(device, non_blocking=True)
        for some in (real_counts, counts)
    )
    boxes, labels = (pad(rows, real_counts, slots) for rows in (targets.boxes, targets.labels))
    fakes, jitter = (
        pad([getattr(own, name) for own in samples], counts, slots).to(boxes, non_blocking=True)
        for name in ("boxes", "jitter")
    )
    fake_labels = pad([own.labels for own in samples], counts, slots)
    extent = torch.tensor(targets.image_sizes).to(boxes, non_blocking=True).flip(1)[:, None]
    annotated = boxes / extent.repeat(1, 1, 2)
    top_left, bottom_right = annotated.where(real[..., None], fakes).clamp(0, 1).split(2, dim=2)
    sizes = bottom_right - top_left
    centres = (top_left + bottom_right) / 2 + jitter * jitter_range * sizes
    return Queries(
        labels=labels.where(real, fake_labels.to(device, non_blocking=True)),
        centres=centres,
        sizes=sizes,
        pixel_sizes=sizes * extent,
        sides=torch.cat([centres - top_left, bottom_right - centres], dim=2),
        real=real,
        valid=valid,
    )


def mlp(inputs: int, channels: int, outputs: int) -> nn.Sequential:
    """Linear - ReLU - Linear - ReLU - Linear, hidden width ``channels``."""
    first, second = nn.Linear(inputs, channels), nn.Linear(channels, channels)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(channels, outputs))


class QueryEncoder(nn.Module):
    """F_q(E(y)): a class, a place and a coarse size as a query vector (equation 3).

    A ``scale_offset`` of 5 puts the limits of the scale bins at about 64, 128, 256 and 512 pixels;
    one less halves them. Without ``scale_hint`` the inputs for the size are zero.
    """

    def __init__(
        self, classes: int, channels: int, scale_offset: float = 5.0, scale_hint: bool = True
    ) -> None:
        super().__init__()
        self.classes, self.scale_offset, self.scale_hint = classes, scale_offset, scale_hint
        self.mlp = mlp(classes + 4 * POSITION_BANDS + 2 * SCALE_BINS, channels, channels)

    def describe(self, queries: Queries) -> Tensor:
        """E(y): [N, K, classes + 256 + 10], one-hot class, sine position, one-hot scale."""
        label = one_hot(queries.labels, self.classes)
        octave = 1.44 * queries.pixel_sizes.clamp(min=1e-6).log() - self.scale_offset
        scale = one_hot(octave.clamp(0, SCALE_BINS - 1).floor(), SCALE_BINS).flatten(-2)
        position = sine_place(queries.centres)
        scale = scale.to(position) * self.scale_hint
        return torch.cat([label.to(position), position, scale], dim=-1)

    def forward(self, queries: Queries) -> Tensor:
        """The query vectors q: [N, K, C]."""
        return self.mlp(self.describe(queries))


def one_hot(index: Tensor, size: int) -> Tensor:
    """[...] as [..., size] bool. PyTorch's own reads the largest index back from the device."""
    return index[..., None] == torch.arange(size, device=index.device)


def sine_place(centres: Tensor) -> Tensor:
    """[N, K, 2] (x, y) as [N, K, 256]: sin x | cos x | sin y | cos y, 64 bands each."""
    band = torch.arange(POSITION_BANDS, device=centres.device, dtype=centres.dtype)
    angle = centres[..., None] * (2 * math.pi / 10000 ** (band / POSITION_BANDS))
    return torch.stack([angle.sin(), angle.cos()], dim=-2).flatten(-3)
