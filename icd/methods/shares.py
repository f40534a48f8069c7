"""Shares of a batch: the images that one process computes at a time.

Several processes compute one share each. With gradient accumulation, a process computes several
shares, one after the other. All shares have the same number of images, and the gradients of their
losses are averaged. For a loss that is a mean over images, this is the gradient of the whole batch.
A sum over objects must be divided by the mean number of objects of all shares
(:func:`mean_count`).

Losses of the first share need the objects of the others. Accumulation therefore first calls the
code that counts, for each share (:func:`counting`). Then it computes the losses, which ask for the
same counts in the same order and receive totals over all shares (:func:`computing`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from mmengine.dist import all_reduce, get_rank, get_world_size
from torch import Tensor


@dataclass
class _Place:
    """Where a process is in its iteration.

    index, number: which of its shares it computes, and of how many.
    seen: the counts of this share while they are collected, else None.
    totals: over all shares, what the losses of this share have yet to ask for; None if each count
        is summed over processes when a loss asks for it.
    """

    index: int = 0
    number: int = 1
    seen: list[Tensor] | None = None
    totals: list[Tensor] | None = None


_place = _Place()


def share_index() -> int:
    """Index of the share that is computed now, over all processes."""
    return get_rank() * _place.number + _place.index


def mean_count(count: Tensor, minimum: float = 0) -> Tensor:
    """The mean over shares of a number of objects, of which all have at least ``minimum``.

    Raises:
        RuntimeError: accumulation did not collect this count first.
    """
    if _place.seen is not None:
        _place.seen.append(count.detach().float())
        return count.clamp(min=1)
    shares = get_world_size() * _place.number
    if shares == 1:
        return count.clamp(min=minimum)
    if _place.totals is None:
        (total,) = totals([[count]])
    elif _place.totals:
        total = _place.totals.pop(0)
    else:
        raise RuntimeError("a loss asks for a count that `count` of its method did not ask for")
    return total.clamp(min=minimum) / shares


def totals(counts: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Sums of the counts of each share of this process, over its shares and all processes."""
    if not counts[0]:
        return []
    total = torch.stack([torch.stack(list(own)).float() for own in counts]).sum(dim=0)
    all_reduce(total)
    return list(total)


@contextmanager
def counting() -> Iterator[list[Tensor]]:
    """Within the block, collect the counts of a share; what is computed with them is void."""
    seen: list[Tensor] = []
    with _placed(_Place(seen=seen)):
        yield seen


@contextmanager
def computing(index: int, number: int, sums: Sequence[Tensor]) -> Iterator[None]:
    """Within the block, compute the losses of a share; ``sums`` are the :func:`totals`.

    Raises:
        RuntimeError: the losses did not ask for the counts that were collected.
    """
    here = _Place(index, number, totals=list(sums))
    with _placed(here):
        yield
    if here.totals:
        raise RuntimeError(f"{len(here.totals)} counts were collected that no loss asked for")


@contextmanager
def _placed(place: _Place) -> Iterator[None]:
    global _place
    before, _place = _place, place
    try:
        yield
    finally:
        _place = before
