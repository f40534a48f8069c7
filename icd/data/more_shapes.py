"""Eight more outlines, each of which resembles one or two of the first eight."""

from __future__ import annotations

import numpy as np

from icd.data.shapes import OUTLINES, Outline, polar, unit_area

MORE_OUTLINES: dict[str, Outline] = {
    "pentagon": unit_area(polar(np.ones(5))),
    "diamond": unit_area(polar(np.ones(4))),
    "frame": unit_area(
        np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]),
        np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]),
    ),
    "star4": unit_area(polar(np.tile([1.0, 0.42], 4))),
    "half_disk": unit_area(polar(np.ones(48))[12:37]),
    "tee": unit_area(
        np.array(
            [
                [-1.0, -1],
                [1, -1],
                [1, -0.4],
                [0.3, -0.4],
                [0.3, 1],
                [-0.3, 1],
                [-0.3, -0.4],
                [-1, -0.4],
            ]
        )
    ),
    "ell": unit_area(np.array([[-1.0, -1], [-0.3, -1], [-0.3, 0.3], [1, 0.3], [1, 1], [-1, 1]])),
    "arrow": unit_area(
        np.array([[0.0, -1], [1, 0], [0.4, 0], [0.4, 1], [-0.4, 1], [-0.4, 0], [-1, 0]])
    ),
}
ALL_OUTLINES: dict[str, Outline] = OUTLINES | MORE_OUTLINES
