"""The look-up of :mod:`icd.methods.icd.plain`, at less cost.

Aggregated values come from fused attention, which keeps no attention map; the maps of chosen
queries are made when they are asked for. Keys and values are made image by image from the levels,
and the position embedding enters them by row and column, as it is the sum of two halves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from icd.methods.icd.auxiliary import full_precision
from icd.methods.icd.packed import Chunk, Layout, PackedTokens, Piece, gather, span, starts
from icd.methods.icd.ragged import pad, unpad

if TYPE_CHECKING:
    from icd.methods.icd.decoder import CrossAttention

MAP_ELEMENTS = 2**20  # of the attention maps that exist at the same time


@dataclass(frozen=True)
class Search:
    """What was asked of a group of g images; M heads of d = C / M channels, no gradient.

    queries: [g, M, K, d], projected; zero where an image has fewer.
    keys: [g, M, T, d], of the tokens of each image.
    """

    queries: Tensor
    keys: Tensor

    @torch.no_grad()
    def attention(self, chosen: Sequence[range], temperature: float) -> Tensor:
        """Attention [g, M, T] summed over the queries ``chosen`` of each image.

        Only few maps exist at once.
        """
        first, last = min(some.start for some in chosen), max(some.stop for some in chosen)
        queries, keys = self.queries[:, :, first:last], self.keys
        uneven = len({*chosen}) > 1
        if uneven:
            limits = torch.tensor([[some.start, some.stop] for some in chosen])
            start, stop = limits.to(keys.device, non_blocking=True).split(1, dim=1)
            place = torch.arange(first, last, device=keys.device)
            counted = ((start <= place) & (place < stop))[:, None, :, None]
        total = full_precision(keys.new_zeros(keys.shape[:3]))
        scale = 1 / (temperature * math.sqrt(keys.shape[-1]))
        for heads, some in blocks(keys.shape[1], last - first, len(keys) * keys.shape[2]):
            logits = (queries[:, heads, some] * scale) @ keys[:, heads].transpose(2, 3)
            maps = full_precision(logits).softmax(dim=-1)
            total[:, heads] += (maps * counted[:, :, some] if uneven else maps).sum(dim=2)
        return total


def blocks(heads: int, queries: int, tokens: int) -> Iterator[tuple[slice, slice]]:
    """All heads and queries, in blocks with at most ``MAP_ELEMENTS`` attention weights."""
    some = max(1, min(queries, MAP_ELEMENTS // tokens))
    group = max(1, MAP_ELEMENTS // (some * tokens))
    for head in range(0, heads, group):
        for first in range(0, queries, some):
            yield slice(head, head + group), slice(first, first + some)


@dataclass(frozen=True)
class Found:
    """What one decoder layer found.

    queries: [Q, C], the layer's output for the queries of all images.
    searches: what was asked, for each group of images.
    values: of their tokens, for each group [M, g T, d], without gradient.
    layout: of the tokens.
    """

    queries: Tensor
    searches: Sequence[Search]
    values: Sequence[Tensor]
    layout: Layout

    def attention(self, asked: Sequence[range], temperature: float = 1.0) -> Tensor:
        """Attention [N, M, L] summed over the queries ``asked`` of each image, no gradient."""
        summed = []
        for group, search in zip(self.layout.groups, self.searches, strict=True):
            chosen = [asked[image] for image in group.images]
            attention = search.attention(chosen, temperature)
            summed.append(self.layout.place(attention, group.images.start))
        return torch.cat(summed)


def look_up(attention: CrossAttention, queries: Tensor, tokens: PackedTokens) -> Found:
    """Aggregate the values of ``tokens`` for ``queries`` [Q, C] of all images."""
    heads, query = attention.heads, attention.query(queries)
    key, value = (like_linear(part, query.dtype) for part in (attention.key, attention.value))
    rows, columns = position_terms(attention, tokens)
    place = (rows.to(query.dtype), columns.to(query.dtype))
    found, searches, values, after = [], [], [], 0
    for group in tokens.layout.groups:
        counts = [tokens.queries[image] for image in group.images]
        before, after = after, after + sum(counts)
        q = pad(query[before:after], counts).unflatten(-1, (heads, -1)).transpose(1, 2)
        k, v = Project.apply(tokens.levels, group.chunks, heads, key[0], *place, *value)
        values.append(v.detach())  # what else is done with it does not change it
        k, v = (x.unflatten(1, (-1, group.length)).transpose(0, 1) for x in (k, v))
        searches.append(Search(q.detach(), k.detach()))
        aggregated = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        found.append(unpad(aggregated, counts))
    return Found(attention.out(torch.cat(found)), searches, values, tokens.layout)


def like_linear(linear: nn.Linear, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weight and bias in the type in which autocast, if it is on, computes."""
    return linear.weight.to(dtype), linear.bias.to(dtype)


def position_terms(attention: CrossAttention, tokens: PackedTokens) -> tuple[Tensor, Tensor]:
    """What its row [N, rows, C] and its column [N, columns, C] add to a token's key.

    W_k (W_p [y, x] + b_p) + b_k, apart for y and x; the constants go with the row.
    """
    over_rows, over_columns = attention.position.weight.chunk(2, dim=1)
    rows = F.linear(tokens.rows, over_rows, attention.position.bias)
    columns = F.linear(tokens.columns, over_columns)
    return attention.key(rows), F.linear(columns, attention.key.weight)


class Project(torch.autograd.Function):
    """Keys and values of a group's tokens; constant features, of which no copy is kept."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        levels: Sequence[Tensor],
        chunks: Sequence[Chunk],
        heads: int,
        key: Tensor,
        rows: Tensor,
        columns: Tensor,
        value: Tensor,
        bias: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """W_k x plus what a token's row and its column add, and W_v x + b_v.

        Args:
            levels: each [N, C, h, w].
            chunks: the pieces of the group.
            heads: number M of heads, which share the M d projected channels.
            key, value: weights W_k and W_v, [M d, C].
            rows: [N, all rows of all levels, M d].
            columns: [N, all columns of all levels, M d].
            bias: b_v, [M d].

        Returns:
            Keys and values, each [M, T, d].
        """
        ctx.levels, ctx.chunks, ctx.dtype = levels, chunks, key.dtype
        ctx.shapes = [x.shape for x in (key, rows, columns, value, bias)]
        keys, values = key.new_empty(2, span(chunks[-1]).stop, len(key))
        for chunk in chunks:
            x, some = gather(levels, chunk).to(key.dtype), span(chunk)
            for piece, row, column in places(chunk, levels):
                cells = piece.within(keys[some], chunk)
                torch.add(rows[row][:, :, None], columns[column][:, None], out=cells)
            keys[some].addmm_(x, key.t())
            torch.addmm(bias, x, value.t(), out=values[some])
        return tuple(x.unflatten(1, (heads, -1)).transpose(0, 1) for x in (keys, values))

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, keys: Tensor, values: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the weights, rows, columns and bias, from those of keys and values."""
        zeros = full_precision(keys.new_zeros(())).new_zeros
        found = [zeros(shape) for shape in ctx.shapes]
        over_key, over_rows, over_columns, over_value, over_bias = found
        for chunk in ctx.chunks:
            x, some = gather(ctx.levels, chunk).to(ctx.dtype), span(chunk)
            key, value = (grad[:, some].transpose(0, 1).flatten(1) for grad in (keys, values))
            over_key += key.t() @ x
            over_value += value.t() @ x
            over_bias += value.sum(dim=0)
            for piece, row, column in places(chunk, ctx.levels):
                cells = piece.within(key, chunk)
                over_rows[row] += cells.sum(dim=2)
                over_columns[column] += cells.sum(dim=1)
        return None, None, None, *found


Place = tuple[slice, slice]


def places(chunk: Chunk, levels: Sequence[Tensor]) -> Iterator[tuple[Piece, Place, Place]]:
    """Each piece, where its rows lie among those of its images' levels, and its columns."""
    above, left = (starts([level.shape[axis] for level in levels]) for axis in (-2, -1))
    for piece in chunk:
        row, column = above[piece.level], left[piece.level]
        rows = slice(row + piece.rows.start, row + piece.rows.stop)
        images = slice(piece.images.start, piece.images.stop)
        yield piece, (images, rows), (images, slice(column, column + piece.columns))
