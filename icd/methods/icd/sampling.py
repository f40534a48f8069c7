"""The random numbers behind queries: fake instances from the priors, jitter (section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from icd.data.priors import Priors


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
        drawn = [
            (
                torch.multinomial(self.frequency, count, replacement=True, generator=generator),
                torch.randn(count, 2, generator=generator),
                torch.rand(count, 2, generator=generator),
                torch.rand(count, 2, generator=generator),
            )
            for count in counts
        ]
        labels, deviation, place, jitter = map(torch.cat, zip(*drawn, strict=True))
        deviation = deviation.clamp(-2, 2)
        sizes = (self.size_mean[labels] + self.size_std[labels] * deviation).clamp(0.002, 0.7)
        centres = place.clamp(0.03, 0.97)
        boxes = torch.cat([centres - sizes / 2, centres + sizes / 2], dim=1)
        each = (part.split(list(counts)) for part in (labels, boxes, jitter * 2 - 1))
        return [QuerySamples(*parts) for parts in zip(*each, strict=True)]
