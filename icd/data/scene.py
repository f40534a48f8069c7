"""One synthetic image: a cluttered background and partly overlapping objects."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icd.data.clutter import Canvas, background, paint
from icd.data.shapes import CLASSES, OUTLINES, Outline, coverage, transform

MIN_VISIBLE = 0.6  # share of its area that must be visible
# Areas as shares of the image. At 128 x 128 px, after cuts and occlusion, 50, 45 and 5 percent of
# the objects are small, medium and large by COCO's definition.
COMMON_AREAS = (180 / 128**2, 6_600 / 128**2)
LARGE_AREAS = (0.70, 0.88)
LARGE_SHARE = 0.13
MAX_TILT = math.radians(15)
MAX_STRETCH = 1.1
MAX_CUT = 0.1  # share of an object's extent that a border may cut off, if it fits into the image
MAX_NOISE = 5  # largest change of a pixel by noise, in grey levels


@dataclass(frozen=True)
class PlacedObject:
    """An object before occlusion.

    label: class index.
    area: area of the whole outline in px^2.
    cover: [size, size], share of every pixel that the object covers, 0 to 255.
    """

    label: int
    area: float
    cover: NDArray[np.uint8]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """[size, size], True for pixels of which the object covers at least half."""
        return self.cover >= 128


@dataclass(frozen=True)
class Scene:
    """An image with N objects.

    image: RGB, uint8 [size, size, 3].
    labels: N class indices.
    masks: [N, size, size], visible pixels of each object.
    """

    image: NDArray[np.uint8]
    labels: tuple[int, ...]
    masks: NDArray[np.bool_]


def compose(rng: np.random.Generator, size: int, max_objects: int, classes: int) -> Scene:
    """Scene of 1 to `max_objects` objects of the first `classes` classes, `size` x `size` px."""
    count = int(rng.integers(1, max_objects + 1))
    objects, masks = stacked([draw_object(rng, size, classes) for _ in range(count)], rng, size)
    canvas = background(rng, size)
    for placed in reversed(objects):
        paint(canvas, placed.cover, rng)
    return finish(canvas, objects, masks, rng)


def draw_object(rng: np.random.Generator, size: int, classes: int) -> PlacedObject:
    """Object of one of the first `classes` classes, on which only its outline depends."""
    label = int(rng.integers(classes))
    smallest, largest = LARGE_AREAS if rng.random() < LARGE_SHARE else COMMON_AREAS
    area = size**2 * math.exp(rng.uniform(math.log(smallest), math.log(largest)))
    return place(label, OUTLINES[CLASSES[label]], area, rng, size)


def place(
    label: int,
    outline: Outline,
    area: float,
    rng: np.random.Generator,
    size: int,
    stretch: float | None = None,
) -> PlacedObject:
    """Put an outline at a random place in a random pose.

    The set of orientations is closed under flips and transposition, which training augments with.

    Args:
        label: class index.
        outline: outline of area 1.
        area: in px^2.
        rng: random generator.
        size: side of the image in px.
        stretch: see :func:`icd.data.shapes.transform`; drawn up to MAX_STRETCH if None.
    """
    angle = rng.integers(4) * math.pi / 2 + rng.uniform(-MAX_TILT, MAX_TILT)
    if stretch is None:
        stretch = MAX_STRETCH ** rng.uniform(-1, 1)
    placed = transform(outline, area, angle, stretch)
    margin = np.minimum((0.5 - MAX_CUT) * np.ptp(placed[0], axis=0), size / 2)
    centre = rng.uniform(margin, size - margin)
    return PlacedObject(label, area, coverage(tuple(ring + centre for ring in placed), size))


def stacked(
    candidates: list[PlacedObject], rng: np.random.Generator, size: int
) -> tuple[list[PlacedObject], NDArray[np.bool_]]:
    """The visible ones of some objects in a random order (topmost first), and their masks.

    Smaller objects are mostly on top, because a completely hidden object cannot be learned.
    """
    depth = [candidate.area * math.exp(rng.uniform(-1, 1)) for candidate in candidates]
    return keep_visible([candidates[i] for i in np.argsort(depth)], size)


def keep_visible(
    stack: list[PlacedObject], size: int
) -> tuple[list[PlacedObject], NDArray[np.bool_]]:
    """Sufficiently visible objects of a stack (topmost first), and their masks [N, size, size].

    From the top down, objects of which the ones above hide too much (less than MIN_VISIBLE of the
    area stays visible) are removed from the scene. So every object in the image is annotated.
    """
    kept: list[PlacedObject] = []
    masks: list[NDArray[np.bool_]] = []
    covered = np.zeros((size, size), bool)
    for placed in stack:
        visible = placed.mask & ~covered
        if visible.sum() >= MIN_VISIBLE * placed.area:
            kept.append(placed)
            masks.append(visible)
            covered |= placed.mask
    return kept, np.array(masks, bool).reshape(-1, size, size)


def finish(
    canvas: Canvas, objects: list[PlacedObject], masks: NDArray[np.bool_], rng: np.random.Generator
) -> Scene:
    """The scene of a painted canvas and its objects, with noise."""
    noise = int(rng.integers(0, MAX_NOISE + 1))
    noisy = canvas + rng.integers(-noise, noise + 1, canvas.shape, dtype=np.int16)
    image = np.clip(noisy, 0, 255).astype(np.uint8)
    return Scene(image, tuple(placed.label for placed in objects), masks)
