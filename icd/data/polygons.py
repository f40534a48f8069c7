"""Masks as COCO polygons."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def mask_to_polygons(mask: NDArray[np.bool_]) -> list[list[int]]:
    """Polygons [x0, y0, x1, y1, ...] along the pixel borders of a mask [height, width].

    Together they fill the mask exactly. Coordinates are COCO's: pixel i spans [i, i + 1]. COCO's
    polygons have no holes, so a vertical cut through a hole splits the mask. An empty mask gives an
    empty list.
    """
    # cv2 reports the centres of pixels. At double size a contour passes through different
    # sub-pixels at a pixel's left and right border, so rounding gives both borders.
    double = cv2.resize(mask.astype(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, tree = cv2.findContours(double, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    for contour, (_, _, _, parent) in zip(contours, tree[0] if contours else (), strict=True):
        if parent >= 0:
            left, _, width, _ = cv2.boundingRect(contour)
            cut = (left + width // 2) // 2
            columns = np.arange(mask.shape[1]) < cut
            return mask_to_polygons(mask & columns) + mask_to_polygons(mask & ~columns)
    return [_corners((contour[:, 0].astype(np.int32) + 1) // 2) for contour in contours]


def _corners(points: NDArray[np.int32]) -> list[int]:
    """Flat list of the points [n, 2] of a closed ring, without consecutive duplicates."""
    moved = (points != np.roll(points, 1, axis=0)).any(axis=1)
    return points[moved].ravel().tolist()
