"""Instance queries: real ones from the annotations, fake ones from the priors (section 3.2).

:class:`QuerySampler` holds all randomness, :func:`make_queries` puts annotated instances in front
of the fakes, and :class:`QueryEncoder` turns queries into vectors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from icd.data.priors import Priors
from icd.methods.tokens import Targets

POSITION_BANDS = 64  # frequencies per sine and cosine of each axis
SCALE_BINS = 5  # coarse classes of width and of height


@dataclass(frozen=True)
class QuerySamples:
    """The random numbers behind the K queries of one image.

    labels: [K] classes of fake instances.
    boxes: [K, 4] their corners as fractions of the image, not yet clamped to it.
    jitter: [K, 2] in [-1, 1], shifts of the centres in units of the largest allowed one.
    """

    labels: Tensor
    boxes: Tensor
    jitter: Tensor


@dataclass(frozen=True)
class Queries:
    """K queries for each of N images: annotated instances, then fakes, then unused slots.

    labels: [N, K] class indices.
    centres: [N, K, 2] jittered centres as fractions of the image.
    sizes: [N, K, 2] widths and heights as fractions of the image.
    pixel_sizes: [N, K, 2] the same in pixels.
    sides: [N, K, 4] distances from the centre to the left, top, right and bottom side, as
        fractions of the image: the target of localisation.
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


def query_count(real: int, fake_ratio: float, cap: int) -> int:
    """Number of queries for an image with ``real`` annotated objects; at least one."""
    return min(max(1, int(real * (1 + fake_ratio))), max(cap, real))


class QuerySampler:
    """Draws plausible fake instances from the priors of the training set, and jitter."""

    def __init__(self, priors: Priors) -> None:
        self.frequency = torch.tensor(priors.frequency, dtype=torch.float64)
        self.size_mean = torch.tensor(priors.size_mean)
        self.size_std = torch.tensor(priors.size_std)

    def __call__(self, counts: Sequence[int], generator: torch.Generator) -> list[QuerySamples]:
        """Draw on the CPU: a class by its frequency, a size by its class, a uniform centre.

        The samples of an image do not depend on the images after it.
        """
        drawn = [self._draw(count, generator) for count in counts]
        labels, deviation, place, jitter = map(torch.cat, zip(*drawn, strict=True))
        deviation = deviation.clamp(-2, 2)
        sizes = (self.size_mean[labels] + self.size_std[labels] * deviation).clamp(0.002, 0.7)
        centres = place.clamp(0.03, 0.97)
        boxes = torch.cat([centres - sizes / 2, centres + sizes / 2], dim=1)
        each = (part.split(list(counts)) for part in (labels, boxes, jitter * 2 - 1))
        return [QuerySamples(*parts) for parts in zip(*each, strict=True)]

    def _draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Labels [K], standard normal [K, 2] and twice uniform [K, 2] numbers in [0, 1)."""
        return (
            torch.multinomial(self.frequency, count, replacement=True, generator=generator),
            torch.randn(count, 2, generator=generator),
            torch.rand(count, 2, generator=generator),
            torch.rand(count, 2, generator=generator),
        )


def make_queries(targets: Targets, samples: Sequence[QuerySamples], jitter_range: float) -> Queries:
    """Replace the first fakes of each image by its annotated instances, jitter, pad to K.

    All fields are zero in unused slots.
    """
    counts, real_counts = [len(own.labels) for own in samples], [len(own) for own in targets.boxes]
    slots, device = max(counts), targets.boxes[0].device

    def padded(rows: Sequence[Tensor], counts: Sequence[int]) -> Tensor:
        return pad(torch.cat(list(rows)), counts, slots)

    def sampled(name: str) -> Tensor:
        return padded([getattr(own, name) for own in samples], counts)

    boxes = padded(targets.boxes, real_counts)
    labels = sampled("labels").to(device, non_blocking=True)
    fakes, jitter = (sampled(name).to(boxes, non_blocking=True) for name in ("boxes", "jitter"))
    extent = torch.tensor(targets.image_sizes).to(boxes, non_blocking=True).flip(1)[:, None]
    real, valid = (first(some, slots, device) for some in (real_counts, counts))
    annotated = boxes / extent.repeat(1, 1, 2)
    corners = annotated.where(real[..., None], fakes).clamp(0, 1)
    top_left, bottom_right = corners.split(2, dim=2)
    sizes = bottom_right - top_left
    centres = (top_left + bottom_right) / 2 + jitter * jitter_range * sizes
    return Queries(
        labels=padded(targets.labels, real_counts).where(real, labels),
        centres=centres,
        sizes=sizes,
        pixel_sizes=sizes * extent,
        sides=torch.cat([centres - top_left, bottom_right - centres], dim=2),
        real=real,
        valid=valid,
    )


def pad(rows: Tensor, counts: Sequence[int], slots: int) -> Tensor:
    """Rows [sum of counts, ...] of N images as [N, slots, ...], zero where an image has no more."""
    count, slot = np.array(counts)[:, None], np.arange(slots)
    index = np.where(slot < count, count.cumsum()[:, None] - count + slot, len(rows))
    zero = rows.new_zeros(1, *rows.shape[1:])
    return torch.cat([rows, zero])[torch.tensor(index).to(rows.device, non_blocking=True)]


def first(counts: Sequence[int], slots: int, device: torch.device) -> Tensor:
    """[N, slots] bool, True for the first ``counts`` of each image."""
    return torch.tensor(np.arange(slots) < np.array(counts)[:, None]).to(device, non_blocking=True)


class MLP(nn.Sequential):
    """Linear - ReLU - Linear - ReLU - Linear, hidden width ``channels``."""

    def __init__(self, inputs: int, channels: int, outputs: int) -> None:
        super().__init__(
            nn.Linear(inputs, channels),
            nn.ReLU(),
            nn.Linear(channels, channels),
            nn.ReLU(),
            nn.Linear(channels, outputs),
        )


class QueryEncoder(nn.Module):
    """F_q(E(y)): a class, a place and a coarse size as a query vector (equation 3).

    Args:
        classes: number of object classes.
        channels: width C of the query.
        scale_offset: log2 of half the width in pixels where the second scale bin begins; 5 puts
            the limits at about 64, 128, 256 and 512 px. Small images need less.
        scale_hint: whether a query encodes its coarse size; otherwise those inputs are zero.
    """

    def __init__(
        self, classes: int, channels: int, scale_offset: float = 5.0, scale_hint: bool = True
    ) -> None:
        super().__init__()
        self.classes, self.scale_offset, self.scale_hint = classes, scale_offset, scale_hint
        self.mlp = MLP(classes + 4 * POSITION_BANDS + 2 * SCALE_BINS, channels, channels)

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
