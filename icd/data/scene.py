"""One synthetic image: a cluttered background and objects that partly cover each other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icd.data.clutter import background, paint
from icd.data.shapes import CLASSES, OUTLINES, coverage, transform

MIN_VISIBLE = 0.6  # share of its area that an object must show
# Areas as shares of the image. At 128 x 128 px, after cuts and occlusion, COCO's small, medium and
# large objects come out as 50, 45 and 5 percent.
COMMON_AREAS = (180 / 128**2, 6_600 / 128**2)
LARGE_AREAS = (0.70, 0.88)
LARGE_SHARE = 0.13
MAX_TILT = math.radians(15)
MAX_STRETCH = 1.1
MAX_CUT = 0.1  # share of its extent that an object may lose at a border if it fits into the image
MAX_NOISE = 5  # largest change of a pixel by noise, in grey levels


@dataclass(frozen=True)
class PlacedObject:
    """An object before occlusion.

    `label` is the class index, `area` (px^2) that of the whole outline, `cover` [size, size] the
    share of every pixel that it covers, 0 to 255.
    """

    label: int
    area: float
    cover: NDArray[np.uint8]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Pixels covered by half or more, [size, size]."""
        return self.cover >= 128


@dataclass(frozen=True)
class Scene:
    """RGB image uint8 [size, size, 3], N class indices, N visible masks [N, size, size]."""

    image: NDArray[np.uint8]
    labels: tuple[int, ...]
    masks: NDArray[np.bool_]


def compose(rng: np.random.Generator, size: int, max_objects: int) -> Scene:
    """Scene of 1 to `max_objects` objects on a cluttered background of `size` x `size` px."""
    count = int(rng.integers(1, max_objects + 1))
    candidates = [draw_object(rng, size) for _ in range(count)]
    # Mostly the smaller lies on top: what is hidden altogether is no occlusion to learn from.
    depth = [candidate.area * math.exp(rng.uniform(-1, 1)) for candidate in candidates]
    stack = [candidates[i] for i in np.argsort(depth)]
    objects, masks = keep_visible(stack, size)
    canvas = background(rng, size)
    for placed in reversed(objects):
        paint(canvas, placed.cover, rng)
    noise = int(rng.integers(0, MAX_NOISE + 1))
    noisy = canvas + rng.integers(-noise, noise + 1, canvas.shape, dtype=np.int16)
    image = np.clip(noisy, 0, 255).astype(np.uint8)
    return Scene(image, tuple(placed.label for placed in objects), masks)


def draw_object(rng: np.random.Generator, size: int) -> PlacedObject:
    """Object of a random class, whose size, pose and place do not depend on the class.

    The orientations are closed under flips and transposition, the augmentations of the training.
    """
    label = int(rng.integers(len(CLASSES)))
    smallest, largest = LARGE_AREAS if rng.random() < LARGE_SHARE else COMMON_AREAS
    area = size**2 * math.exp(rng.uniform(math.log(smallest), math.log(largest)))
    angle = rng.integers(4) * math.pi / 2 + rng.uniform(-MAX_TILT, MAX_TILT)
    stretch = MAX_STRETCH ** rng.uniform(-1, 1)
    outline = transform(OUTLINES[CLASSES[label]], area, angle, stretch)
    margin = np.minimum((0.5 - MAX_CUT) * np.ptp(outline[0], axis=0), size / 2)
    centre = rng.uniform(margin, size - margin)
    return PlacedObject(label, area, coverage(tuple(ring + centre for ring in outline), size))


def keep_visible(
    stack: list[PlacedObject], size: int
) -> tuple[list[PlacedObject], NDArray[np.bool_]]:
    """Objects of a stack (topmost first) that show enough, and their visible masks [N, size, size].

    Going down from the top, an object that shows less than MIN_VISIBLE of its area below those kept
    so far is taken out of the scene, so nothing in the image is left without an annotation.
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
