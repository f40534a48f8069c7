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
import torch.nn.functional as F
from torch import Tensor

from icd.method.tokens import Size, cell_counts, sine_axes, valid_cells

CHUNK = 2048  # tokens that are worked on at once: their values stay in a processor's cache


@dataclass(frozen=True)
class Piece:
    """Some rows of one level of an image, without padding.

    image, level: their indices.
    rows: the cells' rows in the level.
    columns: number of their columns, from 0.
    start: index of the first of these tokens among those of their group.
    """

    image: int
    level: int
    rows: range
    columns: int
    start: int

    @property
    def tokens(self) -> slice:
        """Where these tokens lie among those of their group."""
        return slice(self.start, self.start + len(self.rows) * self.columns)

    def within(self, chunk: Chunk) -> slice:
        """Where these tokens lie among those of their chunk."""
        first = chunk[0].start
        return slice(self.start - first, self.tokens.stop - first)

    def of(self, levels: Sequence[Tensor]) -> Tensor:
        """The cells [rows, columns, C] of levels [N, C, h, w]; a view."""
        rows = slice(self.rows.start, self.rows.stop)
        return levels[self.level][self.image, :, rows, : self.columns].permute(1, 2, 0)


Chunk = tuple[Piece, ...]


@dataclass(frozen=True)
class Group:
    """Images that are worked on together, since they have few tokens; else one image.

    images: their indices.
    lengths: number of tokens of each.
    chunks: the tokens of one image after another, in chunks of about ``CHUNK`` tokens.
    """

    images: range
    lengths: tuple[int, ...]
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True)
class Layout:
    """Which cells of N images on several levels are tokens.

    level_sizes: rows and columns of each level.
    cells: for each level and image, the rows and columns that see the image.
    """

    level_sizes: tuple[Size, ...]
    cells: tuple[tuple[Size, ...], ...]

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Number of tokens of each image."""
        images = zip(*self.cells, strict=True)
        return tuple(sum(rows * columns for rows, columns in sizes) for sizes in images)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """All images in groups."""
        return tuple(
            Group(images, self.lengths[images.start : images.stop], tuple(self.chunks(images)))
            for images in together(self.lengths)
        )

    def chunks(self, images: range) -> Iterator[Chunk]:
        """The pieces of a group; neighbours together if they are at most ``CHUNK`` tokens."""
        chunk: list[Piece] = []
        for piece in self.pieces(images):
            if chunk and piece.tokens.stop - chunk[0].start > CHUNK:
                yield tuple(chunk)
                chunk = []
            chunk.append(piece)
        yield tuple(chunk)

    def pieces(self, images: range) -> Iterator[Piece]:
        """The pieces of a group: of each image, level after level."""
        start = 0
        for image in images:
            for level, cells in enumerate(self.cells):
                rows, columns = cells[image]
                step = max(1, CHUNK // max(columns, 1))
                for first in range(0, rows, step):
                    some = range(first, min(first + step, rows))
                    piece = Piece(image, level, some, columns, start)
                    start = piece.tokens.stop
                    yield piece

    def place(self, weights: Tensor, image: int) -> Tensor:
        """[M, L] over all cells, zero in the padding, from [M, tokens of an image]."""
        sizes = [level[image] for level in self.cells]
        parts = weights.split([rows * columns for rows, columns in sizes], dim=1)
        padded = [
            F.pad(part.unflatten(1, (rows, columns)), (0, width - columns, 0, height - rows))
            for part, (rows, columns), (height, width) in zip(
                parts, sizes, self.level_sizes, strict=True
            )
        ]
        return torch.cat([level.flatten(1) for level in padded], dim=1)

    def levels_of(self, weights: Tensor) -> list[Tensor]:
        """Weights over all cells [N, M, L] as maps of the levels, each [N, M, h, w]."""
        parts = weights.split([rows * columns for rows, columns in self.level_sizes], dim=2)
        return [part.unflatten(2, size) for part, size in zip(parts, self.level_sizes, strict=True)]


def together(lengths: Sequence[int]) -> Iterator[range]:
    """Neighbouring images of so many tokens, grouped so that a group has at most ``CHUNK``."""
    first = total = 0
    for image, length in enumerate(lengths):
        if image > first and total + length > CHUNK:
            yield range(first, image)
            first, total = image, 0
        total += length
    yield range(first, len(lengths))


def span(chunk: Chunk) -> slice:
    """Where the tokens of a chunk lie among those of their group."""
    return slice(chunk[0].start, chunk[-1].tokens.stop)


def gather(levels: Sequence[Tensor], chunk: Chunk) -> Tensor:
    """The tokens [c, C] of a chunk from levels [N, C, h, w]; a view if it can be."""
    parts = [piece.of(levels).flatten(0, 1) for piece in chunk]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def multiply(a: Tensor, b: Tensor, levels: Sequence[Tensor], chunk: Chunk) -> None:
    """Write a b [c, C] where the tokens of a chunk lie in levels [N, C, h, w]."""
    places = [piece.of(levels) for piece in chunk]
    if len(places) == 1 and places[0].shape[1] == levels[chunk[0].level].shape[3]:
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
