"""A batch without its padding: the tokens of each image one after another, in pieces.

Features are not copied as a whole; who needs them takes a chunk at a time from the levels. So
neither tokens in the padding nor copies of a feature pyramid cost anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from icd.method.tokens import Size, cell_counts, sine_axes, valid_cells

CHUNK = 2048  # tokens that are worked on at once: their values stay in a processor's cache


@dataclass(frozen=True)
class Piece:
    """Some rows of one level of an image, without padding.

    level: index of the level.
    rows: the cells' rows in the level.
    columns: number of their columns, from 0.
    start: index of the first of these tokens among those of the image.
    """

    level: int
    rows: range
    columns: int
    start: int

    @property
    def tokens(self) -> slice:
        """Where these tokens lie among those of the image."""
        return slice(self.start, self.start + len(self.rows) * self.columns)

    def within(self, chunk: Chunk) -> slice:
        """Where these tokens lie among those of their chunk."""
        first = chunk[0].start
        return slice(self.start - first, self.tokens.stop - first)

    def of(self, maps: Tensor) -> Tensor:
        """The cells [rows, columns, C] of one level of an image [C, h, w]; a view."""
        rows = slice(self.rows.start, self.rows.stop)
        return maps[:, rows, : self.columns].permute(1, 2, 0)


Chunk = tuple[Piece, ...]


@dataclass(frozen=True)
class Layout:
    """Which cells of N images on several levels are tokens.

    level_sizes: rows and columns of each level.
    cells: for each level and image, the rows and columns that see the image.
    """

    level_sizes: tuple[Size, ...]
    cells: tuple[tuple[Size, ...], ...]

    @cached_property
    def images(self) -> tuple[tuple[Chunk, ...], ...]:
        """The pieces of each image, level after level, in chunks of about ``CHUNK`` tokens."""
        return tuple(tuple(chunks(pieces(sizes))) for sizes in zip(*self.cells, strict=True))

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Number of tokens of each image."""
        return tuple(chunks[-1][-1].tokens.stop for chunks in self.images)

    def place(self, weights: Tensor, image: int) -> Tensor:
        """[M, L] over all cells, zero in the padding, from [M, tokens of an image]."""
        if weights.shape[-1] == sum(rows * columns for rows, columns in self.level_sizes):
            return weights
        levels = [weights.new_zeros(len(weights), *size) for size in self.level_sizes]
        for piece in (piece for chunk in self.images[image] for piece in chunk):
            part = weights[:, piece.tokens].unflatten(1, (len(piece.rows), piece.columns))
            piece.of(levels[piece.level]).copy_(part.permute(1, 2, 0))
        return torch.cat([level.flatten(1) for level in levels], dim=1)

    def levels_of(self, weights: Tensor) -> list[Tensor]:
        """Weights over all cells [M, L] as maps of the levels, each [M, h, w]."""
        parts = weights.split([rows * columns for rows, columns in self.level_sizes], dim=1)
        return [part.unflatten(1, size) for part, size in zip(parts, self.level_sizes, strict=True)]


def pieces(sizes: Sequence[Size]) -> Iterator[Piece]:
    """The pieces of an image with so many rows and columns on each level."""
    start = 0
    for level, (rows, columns) in enumerate(sizes):
        step = max(1, CHUNK // max(columns, 1))
        for first in range(0, rows, step):
            piece = Piece(level, range(first, min(first + step, rows)), columns, start)
            start = piece.tokens.stop
            yield piece


def chunks(of: Iterator[Piece]) -> Iterator[Chunk]:
    """Neighbours together as long as they are not more than ``CHUNK`` tokens."""
    chunk: list[Piece] = []
    for piece in of:
        if chunk and piece.tokens.stop - chunk[0].start > CHUNK:
            yield tuple(chunk)
            chunk = []
        chunk.append(piece)
    yield tuple(chunk)


def span(chunk: Chunk) -> slice:
    """Where the tokens of a chunk lie among those of the image."""
    return slice(chunk[0].start, chunk[-1].tokens.stop)


def gather(levels: Sequence[Tensor], chunk: Chunk) -> Tensor:
    """The tokens [c, C] of a chunk from one image's levels, each [C, h, w]; a view if it can be."""
    parts = [piece.of(levels[piece.level]).flatten(0, 1) for piece in chunk]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def multiply(a: Tensor, b: Tensor, levels: Sequence[Tensor], chunk: Chunk) -> None:
    """Write a b [c, C] where the tokens of a chunk lie in levels, each [C, h, w]."""
    places = [piece.of(levels[piece.level]) for piece in chunk]
    if len(places) == 1 and places[0].shape[1] == levels[chunk[0].level].shape[2]:
        torch.mm(a, b, out=places[0].flatten(0, 1))  # whole rows are a view
        return
    parts = (a @ b).split([len(piece.rows) * piece.columns for piece in chunk])
    for place, part in zip(places, parts, strict=True):
        place.copy_(part.unflatten(0, place.shape[:2]))


@dataclass(frozen=True)
class PackedTokens:
    """The teacher's tokens, as :class:`icd.method.tokens.Tokens` but without padding or copies.

    levels: FPN levels, each [N, C, h, w].
    layout: of the tokens in them.
    rows, columns: the sine embedding's halves, [N, all rows, C / 2] and [N, all columns, C / 2]
        of all levels; their sum, each under a projection of its own, is that of a cell.
    queries: how many queries each image has; those of all images follow each other.
    """

    levels: Sequence[Tensor]
    layout: Layout
    rows: Tensor
    columns: Tensor
    queries: tuple[int, ...]


def pack(
    levels: Sequence[Tensor],
    image_sizes: Sequence[Size],
    padded_size: Size,
    queries: tuple[int, ...],
) -> PackedTokens:
    """Packed tokens of a batch; arguments as of `tokenize`, and the number of queries."""
    sizes = tuple(tuple(level.shape[-2:]) for level in levels)
    cells = tuple(tuple(cell_counts(image_sizes, padded_size, size)) for size in sizes)
    axes = [
        sine_axes(*valid_cells(image_sizes, padded_size, size, level.device), level)
        for size, level in zip(sizes, levels, strict=True)
    ]
    rows, columns = (torch.cat(halves, dim=1) for halves in zip(*axes, strict=True))
    return PackedTokens(levels, Layout(sizes, cells), rows, columns, queries)


def starts(counts: Sequence[int]) -> list[int]:
    """Index of the first of each of several groups that follow each other."""
    return [0, *accumulate(counts)][:-1]
