"""Random batches for the tests: two feature pyramids and the ground truth of their images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from icd.methods.icd.decoder import CrossAttention, DecoderLayer
from icd.methods.icd.method import ICD
from icd.methods.icd.queries import make_queries
from icd.methods.icd.sampling import QuerySamples
from icd.methods.tokens import P3_P7, Targets

CLASSES = 6
PRIORS: dict[str, Any] = {
    "frequency": [0.3, 0.25, 0.2, 0.15, 0.1, 0.0],
    "size_mean": [[0.2, 0.3], [0.4, 0.1], [0.05, 0.05], [0.6, 0.6], [0.3, 0.2], [0.0, 0.0]],
    "size_std": [[0.1, 0.1], [0.2, 0.05], [0.03, 0.02], [0.3, 0.3], [0.0, 0.1], [0.0, 0.0]],
}
P2_P6 = (4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Batch:
    """What a training step hands to ICD."""

    teacher: list[Tensor]
    student: list[Tensor]
    targets: Targets


def level_sizes(padded: tuple[int, int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """Rows and columns of each level, rounded up as strided convolutions do."""
    return [(-(-padded[0] // stride), -(-padded[1] // stride)) for stride in strides]


def random_boxes(count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """[count, 4] corners in pixels, inside the image, sides of at least 5 % of it."""
    width_height = torch.rand(count, 2, generator=generator, dtype=torch.float64) * 0.9 + 0.05
    room = 1 - width_height
    corner = torch.rand(count, 2, generator=generator, dtype=torch.float64) * room
    return torch.cat([corner, corner + width_height], 1) * torch.tensor(size[::-1]).repeat(2)


def random_batch(
    counts: Sequence[int] = (2, 0, 3),
    sizes: Sequence[tuple[int, int]] = ((96, 128), (70, 33), (81, 117)),
    padded: tuple[int, int] = (96, 128),
    levels: Sequence[tuple[int, int]] | None = None,
    strides: Sequence[int] | None = None,
    channels: int = 16,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Batch:
    """A batch of images with ``counts`` objects and true ``sizes``; levels P3-P7 by default."""
    generator = torch.Generator().manual_seed(seed)
    levels = level_sizes(padded, P3_P7) if levels is None else levels

    def pyramid() -> list[Tensor]:
        return [
            torch.randn(len(counts), channels, *hw, generator=generator, dtype=torch.float64).to(
                dtype
            )
            for hw in levels
        ]

    targets = Targets(
        boxes=[
            random_boxes(n, size, generator).to(dtype)
            for n, size in zip(counts, sizes, strict=True)
        ],
        labels=[torch.randint(CLASSES, (n,), generator=generator) for n in counts],
        image_sizes=list(sizes),
        padded_size=padded,
        strides=P3_P7[: len(levels)] if strides is None else strides,
    )
    return Batch(pyramid(), pyramid(), targets)


def random_method(seed: int = 0, **options: Any) -> ICD:
    """ICD with parameters large enough that attention is uneven and no bias is zero."""
    method = ICD(PRIORS, **{"channels": 16, "heads": 4, "query_cap": 20, "warmup": 0, **options})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in method.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 2:
                parameter.copy_(1.5 * noise / parameter.shape[1] ** 0.5)
            else:
                parameter.copy_(0.3 * noise + ("norm" in name and "weight" in name))
    return method


def run(method: nn.Module, batch: Batch, iteration: int = 0) -> dict[str, Tensor]:
    """The losses of a method."""
    return method(batch.teacher, batch.student, batch.targets, iteration)


def with_gradients(batch: Batch) -> Batch:
    """The batch itself, whose features ask for gradients."""
    for level in (*batch.teacher, *batch.student):
        level.requires_grad_()
    return batch


def image_of(batch: Batch, i: int) -> Batch:
    """Image ``i`` alone, with the padding it has in the batch."""
    targets = batch.targets
    return Batch(
        [level[i : i + 1] for level in batch.teacher],
        [level[i : i + 1] for level in batch.student],
        replace(
            targets,
            boxes=[targets.boxes[i]],
            labels=[targets.labels[i]],
            image_sizes=[targets.image_sizes[i]],
        ),
    )


def losses_for(method: ICD, batch: Batch, draws: list[QuerySamples]) -> dict[str, Tensor]:
    """The losses of ICD for given draws."""
    queries = make_queries(batch.targets, draws, method.jitter)
    return method.losses(batch.teacher, batch.student, batch.targets, queries, detach=False)


def total(losses: dict[str, Tensor]) -> Tensor:
    """The sum of all losses, as mmengine adds them up."""
    return torch.stack(list(losses.values())).sum()


def gradient(tensor: Tensor) -> Tensor:
    """The gradient of a tensor, which must have one."""
    assert tensor.grad is not None
    return tensor.grad


def attention_of(layer: nn.Module) -> CrossAttention:
    """The attention in a layer of the decoder, which at depth 0 is the layer itself."""
    attention = layer.attention if isinstance(layer, DecoderLayer) else layer
    assert isinstance(attention, CrossAttention)
    return attention
