"""A scene whose objects are as many, as small and as hard to find as those of photographs.

Objects are log-normal in size, and their number is geometric, so most are small, a few are large,
and some images hold many. Between them lie patches, distractors, scribbles and look-alikes: the
outlines of the classes, but stretched as no object is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from icd.data.clutter import Canvas, Look, clouds, distractor, paint, scribble
from icd.data.more_shapes import ALL_OUTLINES
from icd.data.natural_spec import NaturalSpec, Range
from icd.data.scene import PlacedObject, Scene, finish, place, stacked

SIZES = (0.04, 0.9)  # smallest and largest relative size
LOOK_ALIKE_STRETCH = (1.8, 2.8)  # objects are stretched by 1.1 at most


@dataclass(frozen=True)
class NaturalScenes:
    """Composes scenes that hold what ``spec`` states."""

    spec: NaturalSpec

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, by index."""
        return tuple(ALL_OUTLINES)[: self.spec.classes]

    @property
    def look(self) -> Look:
        """Contrast and texture of objects and clutter alike."""
        return Look(self.spec.contrast, self.spec.tone)

    def compose(self, rng: np.random.Generator, size: int) -> Scene:
        """A scene of `size` x `size` px."""
        # The number counts objects before those hidden by others are taken out.
        count = min(int(rng.geometric(1 / self.spec.objects)), self.spec.most_objects)
        objects, masks = stacked([self.draw_object(rng, size) for _ in range(count)], rng, size)
        canvas = self.background(rng, size)
        for placed in reversed(objects):
            paint(canvas, placed.cover, rng, self.look)
        return finish(canvas, objects, masks, rng)

    def draw_object(self, rng: np.random.Generator, size: int) -> PlacedObject:
        """An object of a random class, which neither its size nor its pose reveals."""
        label = int(rng.integers(self.spec.classes))
        outline = ALL_OUTLINES[self.class_names[label]]
        return place(label, outline, size**2 * self.draw_size(rng) ** 2, rng, size)

    def draw_size(self, rng: np.random.Generator) -> float:
        """Relative size, the root of the share of the image, within SIZES."""
        low, high = SIZES
        drawn = self.spec.median_size * math.exp(self.spec.size_spread * rng.standard_normal())
        return min(max(drawn, low), high)

    def background(self, rng: np.random.Generator, size: int) -> Canvas:
        """Clouds under patches, distractors, scribbles and look-alikes."""
        canvas = clouds(rng, size)
        for _ in range(_draw(rng, self.spec.patches)):
            paint(canvas, distractor(rng, size, (0.05, 0.5)), rng, self.look)
        for _ in range(_draw(rng, self.spec.distractors)):
            paint(canvas, distractor(rng, size, (0.001, 0.05)), rng, self.look)
        for _ in range(_draw(rng, self.spec.scribbles)):
            scribble(canvas, rng)
        for _ in range(_draw(rng, self.spec.look_alikes)):
            self.paint_look_alike(canvas, rng)
        return canvas

    def paint_look_alike(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Paint the outline of a random class, stretched as no object is."""
        size = len(canvas)
        names = self.class_names
        outline = ALL_OUTLINES[names[int(rng.integers(len(names)))]]
        stretch = rng.uniform(*LOOK_ALIKE_STRETCH) ** (1 if rng.random() < 0.5 else -1)
        area = size**2 * self.draw_size(rng) ** 2
        paint(canvas, place(-1, outline, area, rng, size, stretch).cover, rng, self.look)


def _draw(rng: np.random.Generator, bounds: Range) -> int:
    return int(rng.integers(bounds[0], bounds[1] + 1))
