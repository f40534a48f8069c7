"""Outlines of the eight object classes of the synthetic data, and their rasterisation.

An outline is a tuple of closed rings, float64 [n, 2] in (x, y) order. A second ring is a hole. All
outlines in OUTLINES have area 1, so the area of an object does not reveal its class. A flipped,
transposed or rotated outline still belongs to its class.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Outline = tuple[NDArray[np.float64], ...]

_LINES = 4  # scan lines per pixel
_UNITS = 64  # crossings of a scan line are rounded to this fraction of a pixel


def polar(radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """Closed ring [n, 2] with these radii [n] at n equally spaced angles, the first pointing up."""
    angles = np.arange(len(radii)) * (2 * math.pi / len(radii))
    return np.stack([radii * np.sin(angles), -radii * np.cos(angles)], axis=1)


def _crescent(bite_radius: float, bite_offset: float, points: int = 32) -> NDArray[np.float64]:
    """Unit disk with a disk bitten out of its right side."""
    tip_x = (1 - bite_radius**2 + bite_offset**2) / (2 * bite_offset)
    outer_tip = math.acos(tip_x)
    inner_tip = math.atan2(math.sqrt(1 - tip_x**2), tip_x - bite_offset)
    outer = np.linspace(outer_tip, 2 * math.pi - outer_tip, points)
    inner = np.linspace(2 * math.pi - inner_tip, inner_tip, points)[1:-1]
    return np.concatenate(
        [
            np.stack([np.cos(outer), np.sin(outer)], axis=1),
            bite_radius * np.stack([np.cos(inner), np.sin(inner)], axis=1) + [bite_offset, 0],
        ]
    )


def _cross(arm: float) -> NDArray[np.float64]:
    """Plus sign in the square [-1, 1]^2 whose arms are 2 * arm wide."""
    quarter = np.array([[arm, -1], [arm, -arm], [1, -arm]])
    quarter_turn = np.array([[0, 1], [-1, 0]])
    turns = [np.linalg.matrix_power(quarter_turn, k) for k in range(4)]
    return np.concatenate([quarter @ turn for turn in turns]).astype(np.float64)


def ring_area(ring: NDArray[np.float64]) -> float:
    """Area enclosed by one closed ring [n, 2] (shoelace formula)."""
    x, y = ring.T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def unit_area(*rings: NDArray[np.float64]) -> Outline:
    """An outline of area 1 from closed rings [n, 2]; all but the first are holes."""
    outer, *holes = (ring_area(ring) for ring in rings)
    scale = 1 / math.sqrt(outer - sum(holes))
    # Rounding to nine decimals removes last-bit differences between maths libraries.
    return tuple(np.round(ring * scale, 9) for ring in rings)


OUTLINES: dict[str, Outline] = {
    "disk": unit_area(polar(np.ones(48))),
    "square": unit_area(np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])),
    "triangle": unit_area(polar(np.ones(3))),
    "star": unit_area(polar(np.tile([1.0, 0.46], 5))),
    "ring": unit_area(polar(np.ones(48)), polar(np.full(48, 0.5))),
    "cross": unit_area(_cross(0.35)),
    "crescent": unit_area(_crescent(bite_radius=0.7, bite_offset=0.62)),
    "hourglass": unit_area(np.array([[-1.0, -1], [1, -1], [0.2, 0], [1, 1], [-1, 1], [-0.2, 0]])),
}
CLASSES: tuple[str, ...] = tuple(OUTLINES)


def transform(outline: Outline, area: float, angle: float, stretch: float) -> Outline:
    """Scale an outline to an area, stretch it along x and rotate it.

    Args:
        outline: outline of area 1.
        area: in px^2.
        angle: in radians.
        stretch: ratio of the scale along x to that along y; the area stays the same.

    Returns:
        The outline, with the middle of its bounding box at the origin.
    """
    cos, sin = math.cos(angle), math.sin(angle)
    scale = math.sqrt(area) * np.array([math.sqrt(stretch), 1 / math.sqrt(stretch)])
    rings = [ring * scale @ np.array([[cos, sin], [-sin, cos]]) for ring in outline]
    middle = (rings[0].min(axis=0) + rings[0].max(axis=0)) / 2
    return tuple(ring - middle for ring in rings)


def coverage(outline: Outline, size: int) -> NDArray[np.uint8]:
    """Share of every pixel that an outline covers (even-odd rule), 0 to 255: [size, size].

    The outline is in pixel coordinates: pixel i spans [i, i + 1]. It may extend beyond the image.
    cv2.fillPoly is unsuitable: it also paints the border, and its pixels differ between versions.
    """
    start = np.concatenate(outline)
    step = np.concatenate([np.roll(ring, -1, axis=0) for ring in outline]) - start
    lines = (np.arange(size * _LINES) + 0.5) / _LINES
    edge, line = np.nonzero((start[:, 1:] <= lines) != ((start + step)[:, 1:] <= lines))
    x = start[edge, 0] + (lines[line] - start[edge, 1]) * step[edge, 0] / step[edge, 1]
    x = np.clip(np.rint(x * _UNITS).astype(np.int64), 0, size * _UNITS)
    order = np.lexsort((x, line))
    row, (pixel, rest) = line[order] // _LINES, np.divmod(x[order], _UNITS)
    # A scan line alternately enters and leaves the outline. A crossing changes all pixels after it.
    gain = np.where(np.arange(len(order)) % 2, -1, 1)
    gains = np.zeros((size, size + 2), np.int64)
    np.add.at(gains, (row, pixel), gain * (_UNITS - rest))
    np.add.at(gains, (row, pixel + 1), gain * rest)
    return (gains.cumsum(axis=1)[:, :size] * 255 // (_LINES * _UNITS)).astype(np.uint8)
