"""The instance-conditional decoder: queries look up the teacher's tokens (section 3.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from icd.method.auxiliary import full_precision
from icd.method.tokens import Tokens

VALUE_SPACES = ("trained", "fixed", "identity")


@dataclass(frozen=True)
class LookUp:
    """What one decoder layer found; with M heads of d = C / M channels.

    queries: [N, K, C], the layer's output.
    logits: [N, M, K, L], K_j^T F_j^q(q) / sqrt(d); -inf at tokens that are not valid.
    values: [N, M, L, d], V_j^T.
    """

    queries: Tensor
    logits: Tensor
    values: Tensor


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[N, L, C] as [N, heads, L, C / heads]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class CrossAttention(nn.Module):
    """Multi-head attention of queries over tokens (equation 5).

    The position embedding enters the keys through a projection of its own, the values carry no
    position. Projections start as those of ``torch.nn.MultiheadAttention``.
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

    def forward(self, queries: Tensor, tokens: Tokens) -> LookUp:
        """Aggregate the values of ``tokens`` for ``queries`` [N, K, C]."""
        query = split_heads(self.query(queries), self.heads)
        key = split_heads(self.key(tokens.features + self.position(tokens.position)), self.heads)
        value = split_heads(self.value(tokens.features), self.heads)
        logits = query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1])
        logits = logits.masked_fill(~tokens.valid[:, None, None, :], -torch.inf)
        found = (full_precision(logits).softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
        return LookUp(self.out(found), logits, value)


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

    def forward(self, queries: Tensor, tokens: Tokens) -> LookUp:
        """One round of looking up; ``queries`` [N, K, C] do not see each other."""
        found = self.attention(queries, tokens)
        queries = self.norm1(full_precision(queries) + found.queries)
        queries = self.norm2(queries + self.ffn(queries))
        return LookUp(queries, found.logits, found.values)


class Decoder(nn.Module):
    """A stack of ``depth`` layers; depth 0 is one bare attention without residual, norm or FFN."""

    def __init__(self, channels: int, heads: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [DecoderLayer(channels, heads) for _ in range(depth)]
            or [CrossAttention(channels, heads)]
        )

    def forward(self, queries: Tensor, tokens: Tokens) -> list[LookUp]:
        """What each layer found for ``queries`` [N, K, C]."""
        found = []
        for layer in self.layers:
            found.append(layer(queries, tokens))
            queries = found[-1].queries
        return found
