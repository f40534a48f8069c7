"""The instance-conditional decoder: queries look up the teacher's tokens (section 3.2)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

from torch import Tensor, nn

from icd.methods.tokens import Tokens, full_precision

ValueSpace = Literal["trained", "fixed", "identity"]


@dataclass(frozen=True)
class LayerOutput(ABC):
    """What a decoder layer returns; with M heads of d = C / M channels.

    queries: [N, K, C].
    values: [N, M, L, d], V_j^T of the tokens.
    """

    queries: Tensor
    values: Tensor

    @abstractmethod
    def attention(self, counted: Tensor, temperature: float) -> Tensor:
        """Attention [N, M, L] summed over the queries that count, without gradient.

        ``counted`` [N, k] tells of the first k queries whether they count; the others do not. The
        ``temperature`` divides the logits; above 1 the attention is flatter.
        """


class CrossAttention(nn.Module):
    """Multi-head attention of queries over tokens (equation 5, see ``look_up`` in plain.py).

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
        self.value = init_projection(nn.Linear(channels, channels))
        self.position = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)
        for projection in (self.query, self.key):
            init_projection(projection)
        nn.init.zeros_(self.out.bias)

    def forward(self, queries: Tensor, tokens: Tokens, look_up: LookUp) -> LayerOutput:
        """Aggregate the values of ``tokens`` for ``queries`` [N, K, C]."""
        return look_up(self, queries, tokens)


LookUp = Callable[[CrossAttention, Tensor, Tokens], LayerOutput]


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

    def forward(self, queries: Tensor, tokens: Tokens, look_up: LookUp) -> LayerOutput:
        """One round of looking up; ``queries`` [N, K, C] do not see each other."""
        output = self.attention(queries, tokens, look_up)
        queries = self.norm1(full_precision(queries) + output.queries)
        return replace(output, queries=self.norm2(queries + self.ffn(queries)))


class Decoder(nn.Module):
    """A stack of ``depth`` layers; depth 0 is one bare attention without residual, norm or FFN.

    ``value_space`` says what the teacher's values are: ``trained`` by the auxiliary task as in the
    paper, ``fixed`` as initialised, or ``identity``, the features themselves.
    """

    def __init__(
        self, channels: int, heads: int, depth: int, value_space: ValueSpace = "trained"
    ) -> None:
        super().__init__()
        if value_space not in get_args(ValueSpace):
            raise ValueError(f"value_space is {value_space!r}, not one of {get_args(ValueSpace)}")
        layers = [DecoderLayer(channels, heads) for _ in range(depth)]
        self.layers = nn.ModuleList(layers or [CrossAttention(channels, heads)])
        for attention in self.modules():
            if isinstance(attention, CrossAttention) and value_space != "trained":
                if value_space == "identity":
                    nn.init.eye_(attention.value.weight)
                attention.value.requires_grad_(False)

    def forward(self, queries: Tensor, tokens: Tokens, look_up: LookUp) -> list[LayerOutput]:
        """The output of each layer for ``queries`` [N, K, C], which ``look_up`` computes."""
        outputs: list[LayerOutput] = []
        for layer in self.layers:
            outputs.append(layer(queries, tokens, look_up))
            queries = outputs[-1].queries
        return outputs
