"""How a data set writes boxes, where it does not say: found by what fits all images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from icd.new_track.parts import Size

Boxes = list[list[float]]  # of one image
SLACK = 0.01  # boxes may extend beyond their image by this share of its sides
CLEAR = 0.99  # share of the boxes that must fit


class Way(NamedTuple):
    """A way to write a box.

    corners: [left, top, right, bottom] instead of [left, top, width, height].
    relative: as fractions of the image instead of pixels.
    """

    corners: bool
    relative: bool

    @property
    def words(self) -> str:
        """In words."""
        order = "left, top, right, bottom" if self.corners else "left, top, width, height"
        return f"[{order}] in {'fractions of the image' if self.relative else 'pixels'}"


def way_of(boxes: Sequence[Boxes], sizes: Sequence[Size]) -> Way:
    """The way in which nearly all boxes lie in their images.

    If both orders are possible, it is COCO's, as in the library's guide: [left, top, width,
    height].

    Args:
        boxes: of each image.
        sizes: of the images.
    """
    known = [value for listed in boxes for box in listed for value in box]
    relative = max(known, default=2.0) <= 1.0
    pairs = [(box, size) for listed, size in zip(boxes, sizes, strict=True) for box in listed]
    ways = [Way(corners=False, relative=relative), Way(corners=True, relative=relative)]
    shares = [sum(_fits(box, way, size) for box, size in pairs) for way in ways]
    as_coco, as_corners = shares
    return ways[1] if as_coco < CLEAR * len(pairs) and as_corners > as_coco else ways[0]


def corners(box: Sequence[float], way: Way, size: Size) -> tuple[float, float, float, float]:
    """A box as [left, top, right, bottom] in pixels."""
    factors = (*size, *size) if way.relative else (1, 1, 1, 1)
    left, top, right, bottom = (value * factor for value, factor in zip(box, factors, strict=True))
    return (left, top, right, bottom) if way.corners else (left, top, left + right, top + bottom)


def _fits(box: Sequence[float], way: Way, size: Size) -> bool:
    left, top, right, bottom = corners(box, way, size)
    return right > left and bottom > top and all(_are_inside(left, top, right, bottom, size))


def _are_inside(left: float, top: float, right: float, bottom: float, size: Size) -> Iterator[bool]:
    width, height = size
    yield min(left / width, top / height) >= -SLACK
    yield max(right / width, bottom / height) <= 1 + SLACK
