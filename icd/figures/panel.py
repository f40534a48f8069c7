"""Images with boxes and maps on them: what the figures of images share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy import ndarray

Linestyle = str | tuple[float, tuple[float, ...]]  # a name, or offset and lengths of dashes
SOLID: Linestyle = "-"
DASHED: Linestyle = (0, (2, 1.5))
HALO = 2.2  # width of the black below a white line, in that line's; it shows on any ground
LETTERS = 0.065  # height of a label as a fraction of the image's
FULL = 0.99  # quantile of a map's values from which the ink is full; few peaks go beyond
INK = np.array([0.45, 0.0, 0.10])  # dark, so that more of it is darker in grey, too
PAPER = 0.62  # how much of an image's contrast is taken away below a map


def show(axes: Axes, image: ndarray) -> None:
    """An image [H, W, 3] without ticks."""
    axes.imshow(image, interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def show_maps(panels: Sequence[Axes], image: ndarray, densities: ndarray) -> None:
    """Maps [M, H, W] of one scale, from no ink at 0 on, over the image in pale grey."""
    top = np.quantile(densities, FULL)
    grey = np.repeat((image / 255).mean(axis=2, keepdims=True), 3, axis=2)
    paper = PAPER + (1 - PAPER) * grey
    for axes, density in zip(panels, densities, strict=True):
        share = np.clip(density / max(top, 1e-12), 0, 1)[..., None]
        show(axes, paper * (1 - share) + INK * share)


def draw_box(
    axes: Axes, corners: Sequence[float], style: Linestyle = SOLID, width: float = 0.9
) -> None:
    """A white box with a black halo; ``corners`` are x1, y1, x2, y2 in pixels."""
    left, top, right, bottom = corners
    place, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
    for color, line, thick in (("black", SOLID, HALO * width), ("white", style, width)):
        look: dict[str, Any] = {"edgecolor": color, "linestyle": line, "linewidth": thick}
        axes.add_patch(Rectangle(place, *size, fill=False, **look))


def label_box(axes: Axes, corners: Sequence[float], text: str, above: bool = True) -> None:
    """A text above or below a box, moved into the image where that would leave it."""
    left, top, _, bottom = corners
    height, width = axes.images[0].get_size()
    room = LETTERS * height
    y = max(top, room) if above else min(bottom, height - room)
    axes.text(
        min(max(left, 0), width - 0.55 * room * len(text)),
        y,
        text,
        fontsize=5,
        color="white",
        va="bottom" if above else "top",
        bbox={"facecolor": "black", "linewidth": 0, "pad": 0.6},
    )
