"""The auxiliary task: is the instance there, and where are its sides (equations 7 and 8)?"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icd.methods.counts import mean_count
from icd.methods.icd.mlp import MLP
from icd.methods.icd.queries import Queries

AUXILIARY_LOSSES: tuple[Literal["identification", "localisation"], ...] = (
    "identification",
    "localisation",
)


class AuxiliaryTask(nn.Module):
    """Predicts objectness and four sides from what the decoder found; trains the decoder.

    Args:
        channels: width C of what the decoder found.
        losses: those of ``AUXILIARY_LOSSES`` that are asked for.
    """

    def __init__(self, channels: int, losses: Collection[str] = AUXILIARY_LOSSES) -> None:
        super().__init__()
        if not set(losses) <= set(AUXILIARY_LOSSES):
            raise ValueError(f"auxiliary losses are {AUXILIARY_LOSSES}, not {losses}")
        self.predictor = MLP(channels, channels, 5)
        self.losses = losses

    def forward(self, found: Tensor, queries: Queries) -> dict[str, Tensor]:
        """The losses that are asked for, by name (scalars), of decoder outputs [N, K, C]."""
        prediction = full_precision(self.predictor(found))
        losses = {
            "identification": identification_loss(prediction[..., 0], queries),
            "localisation": localisation_loss(prediction[..., 1:].sigmoid(), queries),
        }
        return {name: losses[name] for name in AUXILIARY_LOSSES if name in self.losses}


def full_precision(x: Tensor) -> Tensor:
    """Losses, norms and softmax are computed in float32 at least, whatever autocast chose."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def identification_loss(objectness: Tensor, queries: Queries) -> Tensor:
    """Mean binary cross-entropy of logits [N, K] over all valid queries (of all processes)."""
    loss = F.binary_cross_entropy_with_logits(
        objectness, queries.real.to(objectness), reduction="none"
    )
    return (loss * queries.valid).sum() / mean_count(queries.valid.sum())


def localisation_loss(sides: Tensor, queries: Queries) -> Tensor:
    """L1 between predicted and true sides [N, K, 4], in units of the box's own size.

    Summed over the sides, averaged over the real queries (of all processes); 0 if there is none.
    """
    scale = queries.sizes.repeat(1, 1, 2).clamp(min=1e-6)
    error = ((sides - queries.sides).abs() / scale).sum(dim=-1)
    return (error * queries.real).sum() / mean_count(queries.real.sum(), minimum=1)
