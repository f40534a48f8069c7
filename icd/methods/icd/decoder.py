"""The instance-conditional decoder: queries look up the teacher's tokens (section 3.2)."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor, nn

from icd.methods.icd import attention, plain
from icd.methods.icd.attention import Found
from icd.methods.icd.auxiliary import full_precision
from icd.methods.icd.packed import PackedTokens
from icd.methods.icd.plain import LookUp
from icd.methods.tokens import Tokens

VALUE_SPACES = ("trained", "fixed", "identity")


class CrossAttention(nn.Module):
    """Multi-head attention of queries over tokens (equation 5).

    The position embedding enters the keys through a projection of its own, the values carry no
    position. Projections start as those of ``torch.nn.MultiheadAttention``.

    Its equations stand in :func:`icd.methods.icd.plain.look_up`.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels cannot be split into {heads} heads")
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = value_projection(channels)
        self.position = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)
        for projection in (self.query, self.key):
            init_projection(projection)
        nn.init.zeros_(self.out.bias)

    def forward(self, queries: Tensor, tokens: Tokens | PackedTokens) -> LookUp | Found:
        """Aggregate the values of ``tokens`` for ``queries``.

        [N, K, C] for :class:`Tokens`, which is the plain formulation, or [Q, C] for packed ones,
        which is the same without padding and at less cost.
        """
        look_up = attention.look_up if isinstance(tokens, PackedTokens) else plain.look_up
        return look_up(self, queries, tokens)


def value_projection(channels: int, features: int | None = None) -> nn.Linear:
    """F^v, the projection of features, maybe of another width, into where they are compared."""
    return init_projection(nn.Linear(features or channels, channels))


def set_value_space(decoder: Decoder, space: str) -> None:
    """Choose what the teacher's values are, before training.

    Args:
        decoder: as it was initialised.
        space: ``trained`` by the auxiliary task as in the paper, ``fixed`` as initialised, or
            ``identity``, the teacher's features themselves.
    """
    if space not in VALUE_SPACES:
        raise ValueError(f"value_space is {space!r}, not one of {VALUE_SPACES}")
    for name, module in decoder.named_modules():
        if name.endswith("value") and space != "trained":
            if space == "identity":
                nn.init.eye_(module.weight)
            module.requires_grad_(False)


def init_projection(linear: nn.Linear) -> nn.Linear:
    """Start as a third of MultiheadAttention's stacked input projection: Xavier, no bias."""
    bound = math.sqrt(6 / (linear.in_features + 3 * linear.out_features))
    nn.init.uniform_(linear.weight, -bound, bound)
    nn.init.zeros_(linear.bias)
    return linear


class DecoderLayer(nn.Module):
    """Cross-attention, then a feed-forward network of width 4 C; each with residual and norm."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.attention = CrossAttention(channels, heads)
        self.norm1 = nn.LayerNorm(channels)
        self.ffn = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.ReLU(), nn.Linear(4 * channels, channels)
        )
        self.norm2 = nn.LayerNorm(channels)

    def forward(self, queries: Tensor, tokens: Tokens | PackedTokens) -> LookUp | Found:
        """One round of looking up; ``queries`` do not see each other."""
        found = self.attention(queries, tokens)
        queries = self.norm1(full_precision(queries) + found.queries)
        queries = self.norm2(queries + self.ffn(queries))
        return replace(found, queries=queries)


class Decoder(nn.Module):
    """A stack of ``depth`` layers; depth 0 is one bare attention without residual, norm or FFN."""

    def __init__(self, channels: int, heads: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [DecoderLayer(channels, heads) for _ in range(depth)]
            or [CrossAttention(channels, heads)]
        )

    def forward(self, queries: Tensor, tokens: Tokens | PackedTokens) -> list[LookUp] | list[Found]:
        """What each layer found for ``queries``; see :class:`CrossAttention`."""
        found = []
        for layer in self.layers:
            found.append(layer(queries, tokens))
            queries = found[-1].queries
        return found
