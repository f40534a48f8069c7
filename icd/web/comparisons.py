"""Gains and differences as the page shows them when a pointer rests on one or a reader opens it."""

from __future__ import annotations

from dataclasses import dataclass

from icd.report.intervals import Estimate


@dataclass(frozen=True)
class Comparison:
    """A difference of two rows in percent; see :class:`icd.report.intervals.Estimate`.

    other: id of the row that it is measured against.
    low, high: the 95 % interval; None for one seed without a bootstrap, as p and detectable.
    values: one per seed.
    images: True if the interval includes the sampling of the test images.
    """

    other: str
    mean: float
    low: float | None
    high: float | None
    p: float | None
    detectable: float | None
    values: list[float]
    images: bool
    inconclusive: bool


def comparison(other: str, estimate: Estimate | None) -> Comparison | None:
    """An estimate for the page; None if there is none."""
    if estimate is None:
        return None
    low, high = estimate.interval or (None, None)
    return Comparison(
        other,
        estimate.mean,
        low,
        high,
        estimate.p,
        estimate.detectable,
        list(estimate.values),
        estimate.images,
        estimate.inconclusive,
    )
