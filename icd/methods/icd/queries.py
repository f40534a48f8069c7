"""Instance queries: real ones from the annotations, fake ones from the priors (section 3.2).

``draw`` holds all randomness, ``pose`` turns draws and ground truth into questions, and
:class:`QueryEncoder` turns questions into query vectors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icd.data.priors import Priors
from icd.methods.icd.mlp import MLP
from icd.methods.icd.ragged import pad
from icd.methods.targets import Targets

POSITION_BANDS = 64  # frequencies per sine and cosine of each axis
SCALE_BINS = 5  # coarse classes of width and of height


@dataclass(frozen=True)
class Draw:
    """What chance decides for one image with K queries.

    labels: [K] classes of the fake instances.
    boxes: [K, 4] their corners as fractions of the image, not yet clamped to it.
    jitter: [K, 2] in [-1, 1], moves of the centres in units of the largest allowed one.
    """

    labels: Tensor
    boxes: Tensor
    jitter: Tensor


@dataclass(frozen=True)
class Queries:
    """K questions for each of N images; real instances first, then fakes, then unused slots.

    labels: [N, K] class indices.
    centres: [N, K, 2] jittered centres as fractions of the image.
    sizes: [N, K, 2] widths and heights as fractions of the image.
    pixel_sizes: [N, K, 2] the same in pixels.
    sides: [N, K, 4] distances from the centre to the left, top, right and bottom side, as
        fractions of the image: the target of localisation.
    real: [N, K] bool, True for annotated instances.
    valid: [N, K] bool, False for unused slots.
    counts: of valid queries of each image, known without asking the device.
    """

    labels: Tensor
    centres: Tensor
    sizes: Tensor
    pixel_sizes: Tensor
    sides: Tensor
    real: Tensor
    valid: Tensor
    counts: tuple[int, ...] = ()


def query_count(real: int, fake_ratio: float, cap: int) -> int:
    """Number of queries for an image with ``real`` annotated objects; at least one."""
    return min(max(1, int(real * (1 + fake_ratio))), max(cap, real))


class FakeSampler:
    """Draws plausible instances that are not there, from the priors of the training set."""

    def __init__(self, priors: Priors) -> None:
        self.frequency = torch.tensor(priors.frequency, dtype=torch.float64)
        self.size_mean = torch.tensor(priors.size_mean)
        self.size_std = torch.tensor(priors.size_std)

    def __call__(self, counts: Sequence[int], generator: torch.Generator) -> list[Draw]:
        """Draw on the CPU: class by frequency, size by its class, centre anywhere.

        Image after image: what one gets does not depend on those that follow.
        """
        drawn = [self._draw(count, generator) for count in counts]
        labels, deviation, place, jitter = map(torch.cat, zip(*drawn, strict=True))
        deviation = deviation.clamp(-2, 2)
        sizes = (self.size_mean[labels] + self.size_std[labels] * deviation).clamp(0.002, 0.7)
        centres = place.clamp(0.03, 0.97)
        boxes = torch.cat([centres - sizes / 2, centres + sizes / 2], dim=1)
        each = (part.split(list(counts)) for part in (labels, boxes, jitter * 2 - 1))
        return [Draw(*parts) for parts in zip(*each, strict=True)]

    def _draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Labels [K], standard normal [K, 2] and twice uniform [K, 2] numbers in [0, 1)."""
        return (
            torch.multinomial(self.frequency, count, replacement=True, generator=generator),
            torch.randn(count, 2, generator=generator),
            torch.rand(count, 2, generator=generator),
            torch.rand(count, 2, generator=generator),
        )


def pose(targets: Targets, draws: Sequence[Draw], jitter_range: float) -> Queries:
    """Replace the first fakes of each image by its annotated instances, jitter, pad to K.

    The padding is zero, thus neither valid nor real.
    """
    counts, real_counts = [len(draw.labels) for draw in draws], [len(own) for own in targets.boxes]

    def drawn(name: str, other: Tensor) -> Tensor:
        rows = torch.cat([getattr(draw, name) for draw in draws])
        return pad(rows, counts).to(other, non_blocking=True)

    boxes, labels = (pad(torch.cat(own), real_counts) for own in (targets.boxes, targets.labels))
    drawn_boxes, jitter = drawn("boxes", boxes), drawn("jitter", boxes)
    extent = torch.tensor(targets.image_sizes).to(boxes, non_blocking=True).flip(1)[:, None]
    slots = jitter.shape[1]
    valid, real = (first(some, slots, boxes.device) for some in (counts, real_counts))

    unused = slots - boxes.shape[1]
    annotated = F.pad(boxes / extent.repeat(1, 1, 2), (0, 0, 0, unused))
    corners = annotated.where(real[..., None], drawn_boxes).clamp(0, 1)
    top_left, bottom_right = corners.split(2, dim=2)
    sizes = bottom_right - top_left
    moved = (top_left + bottom_right) / 2 + jitter * jitter_range * sizes
    return Queries(
        labels=F.pad(labels, (0, unused)).where(real, drawn("labels", labels)),
        centres=moved,
        sizes=sizes,
        pixel_sizes=sizes * extent,
        sides=torch.cat([moved - top_left, bottom_right - moved], dim=2),
        real=real,
        valid=valid,
        counts=tuple(counts),
    )


def first(counts: Sequence[int], slots: int, device: torch.device) -> Tensor:
    """[N, slots] bool, True for the first ``counts`` of each image."""
    used = torch.tensor(counts).to(device, non_blocking=True)
    return torch.arange(slots, device=device) < used[:, None]


class QueryEncoder(nn.Module):
    """F_q(E(y)): a class, a place and a coarse size as a query vector (equation 3).

    Args:
        num_classes: number of object classes.
        channels: width C of the query.
        scale_offset: log2 of half the width in pixels at which the second scale bin begins;
            5 puts the limits at about 64, 128, 256 and 512 px. Small images need less.
        scale_hint: whether a query tells its coarse size at all; without, those inputs are zero.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int,
        scale_offset: float = 5.0,
        scale_hint: bool = True,
    ) -> None:
        super().__init__()
        self.num_classes, self.scale_offset = num_classes, scale_offset
        self.scale_hint = scale_hint
        inputs = num_classes + 4 * POSITION_BANDS + 2 * SCALE_BINS
        self.mlp = MLP(inputs, channels, channels)

    def describe(self, queries: Queries) -> Tensor:
        """E(y): [N, K, classes + 256 + 10], one-hot class, sine position, one-hot scale."""
        label = one_hot(queries.labels, self.num_classes)
        scale = one_hot(self._scale_bins(queries.pixel_sizes), SCALE_BINS).flatten(-2)
        scale = scale * self.scale_hint
        position = sine_place(queries.centres)
        return torch.cat([label.to(position), position, scale.to(position)], dim=-1)

    def _scale_bins(self, pixel_sizes: Tensor) -> Tensor:
        octave = 1.44 * pixel_sizes.clamp(min=1e-6).log() - self.scale_offset
        return octave.clamp(0, SCALE_BINS - 1).floor().long()

    def forward(self, queries: Queries) -> Tensor:
        """The query vectors q: [N, K, C]."""
        return self.mlp(self.describe(queries))


def one_hot(index: Tensor, size: int) -> Tensor:
    """[...] as [..., size] bool; that of PyTorch looks at the largest index first."""
    return index[..., None] == torch.arange(size, device=index.device)


def sine_place(centres: Tensor) -> Tensor:
    """[N, K, 2] (x, y) as [N, K, 256]: sin x | cos x | sin y | cos y, 64 bands each."""
    band = torch.arange(POSITION_BANDS, device=centres.device, dtype=centres.dtype)
    angle = centres[..., None] * (2 * math.pi / 10000 ** (band / POSITION_BANDS))
    return torch.stack([angle.sin(), angle.cos()], dim=-2).flatten(-3)
