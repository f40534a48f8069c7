"""A batch without its padding: the tokens of each image one after another, in pieces.

Features are not copied as a whole; who needs them takes a chunk at a time from the levels. So
neither tokens in the padding nor copies of a feature pyramid cost anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor

from icd.methods.tokens import Size, cell_counts, sine_axes

CHUNK = 4096  # tokens that are worked on at once: their values stay in a processor's cache


@dataclass(frozen=True)
class Piece:
    """Some rows of one level of a group's images, without padding.

    images: of the group, g of them.
    level: its index.
    rows: the cells' rows in the level.
    columns: number of their columns, from 0.
    start: index of the first of these tokens among those of their image.
    """

    images: range
    level: int
    rows: range
    columns: int
    start: int

    @property
    def stop(self) -> int:
        """Index after the last of these tokens."""
        return self.start + len(self.rows) * self.columns

    def of(self, levels: Sequence[Tensor]) -> Tensor:
        """The cells [g, rows, columns, C] of levels [N, C, h, w]; a view."""
        images, rows = (slice(x.start, x.stop) for x in (self.images, self.rows))
        return levels[self.level][images, :, rows, : self.columns].permute(0, 2, 3, 1)

    def within(self, values: Tensor, chunk: Chunk) -> Tensor:
        """The cells [g, rows, columns, C] of values [c, C] of their chunk; a view."""
        first = chunk[0].start
        each = values.unflatten(0, (len(self.images), -1))[
            :, self.start - first : self.stop - first
        ]
        return each.unflatten(1, (len(self.rows), self.columns))


Chunk = tuple[Piece, ...]


@dataclass(frozen=True)
class Group:
    """Images of one size that are worked on together, since they have few tokens; else one image.

    images: their indices.
    length: number of tokens of each.
    chunks: those of one image in chunks of about ``CHUNK``; those of several in one.
    """

    images: range
    length: int
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
        """All images in groups of neighbours."""
        images = tuple(zip(*self.cells, strict=True))
        return tuple(
            Group(some, self.lengths[some.start], tuple(self.chunks(some)))
            for some in together(images, self.lengths)
        )

    def chunks(self, images: range) -> Iterator[Chunk]:
        """The pieces of a group; neighbours together if they are at most ``CHUNK`` tokens."""
        chunk: list[Piece] = []
        for piece in self.pieces(images):
            if chunk and (piece.stop - chunk[0].start) * len(images) > CHUNK:
                yield tuple(chunk)
                chunk = []
            chunk.append(piece)
        yield tuple(chunk)

    def pieces(self, images: range) -> Iterator[Piece]:
        """The pieces of a group, level after level."""
        start = 0
        for level, cells in enumerate(self.cells):
            rows, columns = cells[images.start]
            step = max(1, CHUNK // max(columns, 1)) if len(images) == 1 else max(rows, 1)
            for first in range(0, rows, step):
                piece = Piece(images, level, range(first, min(first + step, rows)), columns, start)
                start = piece.stop
                yield piece

    def place(self, weights: Tensor, image: int) -> Tensor:
        """[..., L] over all cells, zero in the padding, from [..., tokens of an image]."""
        sizes = [level[image] for level in self.cells]
        if tuple(sizes) == self.level_sizes:
            return weights
        parts = weights.split([rows * columns for rows, columns in sizes], dim=-1)
        padded = [
            F.pad(part.unflatten(-1, (rows, columns)), (0, width - columns, 0, height - rows))
            for part, (rows, columns), (height, width) in zip(
                parts, sizes, self.level_sizes, strict=True
            )
        ]
        return torch.cat([level.flatten(-2) for level in padded], dim=-1)

    def levels_of(self, weights: Tensor) -> list[Tensor]:
        """Weights over all cells [N, M, L] as maps of the levels, each [N, M, h, w]."""
        parts = weights.split([rows * columns for rows, columns in self.level_sizes], dim=2)
        return [part.unflatten(2, size) for part, size in zip(parts, self.level_sizes, strict=True)]


def together(images: Sequence[tuple[Size, ...]], lengths: Sequence[int]) -> Iterator[range]:
    """Neighbours with the same cells on each level, at most ``CHUNK`` tokens in a group."""
    first = 0
    for image in range(1, len(images)):
        grown = lengths[first] * (image + 1 - first)
        if images[image] != images[first] or grown > CHUNK:
            yield range(first, image)
            first = image
    yield range(first, len(images))


def span(chunk: Chunk) -> slice:
    """Where the tokens of a chunk lie among those of their group, image after image."""
    images = len(chunk[0].images)
    return slice(chunk[0].start * images, chunk[-1].stop * images)


def gather(levels: Sequence[Tensor], chunk: Chunk) -> Tensor:
    """The tokens [c, C] of a chunk from levels [N, C, h, w]; a view if it can be."""
    parts = [piece.of(levels).flatten(1, 2) for piece in chunk]
    return (parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)).flatten(0, 1)


def multiply(a: Tensor, b: Tensor, levels: Sequence[Tensor], chunk: Chunk) -> None:
    """Write a b [c, C] where the tokens of a chunk lie in levels [N, C, h, w]."""
    place = chunk[0].of(levels)
    is_view = place.shape[0] == len(chunk) == 1  # whole rows of an image
    is_view &= place.shape[2] == levels[chunk[0].level].shape[3]
    if is_view and place.dtype == a.dtype:  # under autocast levels may be float32 beside bfloat16
        torch.mm(a, b, out=place.flatten(0, 2))
        return
    product = a @ b
    for piece in chunk:
        piece.of(levels).copy_(piece.within(product, chunk))


@dataclass(frozen=True)
class PackedTokens:
    """The teacher's tokens, as :class:`icd.methods.tokens.Tokens` but without padding or copies.

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
    rows, columns = axes(sizes, cells, levels[0].shape[1], levels[0].dtype, levels[0].device)
    return PackedTokens(levels, Layout(sizes, cells), rows, columns, queries)


@lru_cache(maxsize=4)  # the same in every step unless sizes of images vary
def axes(
    sizes: tuple[Size, ...],
    cells: tuple[tuple[Size, ...], ...],
    channels: int,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Rows and columns of :class:`PackedTokens`."""
    each = []
    for (height, width), counts in zip(sizes, cells, strict=True):
        valid = torch.tensor(counts).to(device, non_blocking=True).unbind(dim=1)
        shape = torch.empty(len(counts), channels, height, width, dtype=dtype, device="meta")
        each.append(sine_axes(*valid, shape))
    rows, columns = (torch.cat(halves, dim=1) for halves in zip(*each, strict=True))
    return rows, columns


def starts(counts: Sequence[int]) -> list[int]:
    """Index of the first of each of several groups that follow each other."""
    return [0, *accumulate(counts)][:-1]
