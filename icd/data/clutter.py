"""Colours, textures, backgrounds and distractors, none of which depend on an object's class.

Pixels are combined in integer arithmetic only, so a scene is identical on every machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from icd.data.shapes import coverage, polar, transform

Canvas = NDArray[np.uint8]  # [size, size, 3], RGB


@dataclass(frozen=True)
class Look:
    """How a region differs from what it covers.

    contrast: least RGB distance between its colour and what it covers.
    tone: largest change of a colour channel made by its texture.
    """

    contrast: int = 150
    tone: int = 12


LOOK = Look()
BLOBS = 0.7  # share of blobs among the distractors; the others are bars


def background(rng: np.random.Generator, size: int) -> Canvas:
    """Clouds with a few distractors on top."""
    canvas = clouds(rng, size)
    add_distractors(canvas, rng)
    return canvas


def clouds(rng: np.random.Generator, size: int) -> Canvas:
    """Gradient between two colours under soft coloured clouds."""
    slope = _slope(rng, size, 4 * size)
    ramp = (slope - slope.min()) * 255 // max(1, int(np.ptp(slope)))
    start, end = rng.integers(0, 256, (2, 3), dtype=np.int32)
    gradient = start + ramp[..., None] * (end - start) // 255
    cells = int(rng.integers(3, 13))
    noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
    soft = np.asarray(noise.resize((size, size), Image.Resampling.BICUBIC)).astype(np.int32)
    canvas = gradient + (soft - 128) * int(rng.integers(5, 20)) // 128
    return np.clip(canvas, 0, 255).astype(np.uint8)


def add_distractors(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw distractors (scribbles, lumpy blobs, long bars) onto `canvas` in place."""
    size = len(canvas)
    for _ in range(rng.integers(0, 2)):
        paint(canvas, distractor(rng, size, (0.004, 0.1)), rng)
    for _ in range(rng.integers(0, 3)):
        scribble(canvas, rng)


def distractor(
    rng: np.random.Generator, size: int, areas: tuple[float, float]
) -> NDArray[np.uint8]:
    """Cover of a lumpy blob or a long bar at a random place.

    Args:
        rng: random generator.
        size: side of the image in px.
        areas: smallest and largest share of the image.
    """
    area = size**2 * math.exp(rng.uniform(math.log(areas[0]), math.log(areas[1])))
    if rng.random() < BLOBS:
        outline = transform((_blob(rng),), area, 0.0, 1.0)
    else:
        bar = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
        outline = transform((bar,), area, rng.uniform(0, math.pi), rng.uniform(4, 9))
    centre = rng.uniform(0, size, 2)
    return coverage(tuple(ring + centre for ring in outline), size)


def scribble(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a bent line of one colour."""
    size = len(canvas)
    steps = rng.integers(-size // 3, size // 3 + 1, (int(rng.integers(2, 7)), 2))
    points = rng.integers(0, size, 2) + np.cumsum(steps, axis=0)
    colour = [int(value) for value in rng.integers(0, 256, 3)]
    thickness = int(rng.integers(1, 4))
    cv2.polylines(canvas, [points.astype(np.int32)], False, colour, thickness, cv2.LINE_AA)


def _blob(rng: np.random.Generator) -> NDArray[np.float64]:
    """Closed lumpy ring of area about 1: a circle bent by three harmonics of random phase."""
    angles = np.arange(48) * (2 * math.pi / 48)
    radii = np.ones(48)
    for harmonic, strength in ((2, 0.25), (3, 0.25), (5, 0.15)):
        radii += strength * np.cos(harmonic * angles + rng.uniform(0, 2 * math.pi))
    return polar(radii) / math.sqrt(math.pi)


def paint(
    canvas: Canvas, cover: NDArray[np.uint8], rng: np.random.Generator, look: Look = LOOK
) -> None:
    """Paint a random colour with a random texture onto `canvas` in place.

    Args:
        canvas: [size, size, 3].
        cover: [size, size], share of every pixel that is painted, 0 to 255.
        rng: random generator.
        look: contrast and texture.
    """
    left, top, width, height = cv2.boundingRect(cover)
    if width == 0:
        return
    window = (slice(top, top + height), slice(left, left + width))
    under = canvas[window].astype(np.int32)
    alpha = cover[window].astype(np.int32)[..., None]
    mean = (under * alpha).sum(axis=(0, 1)) // alpha.sum()
    colour = _colour(rng, mean, look.contrast)
    tone = rng.integers(-look.tone, look.tone + 1, 3, dtype=np.int32)
    pattern = _texture(rng, max(width, height))[:height, :width, None]
    over = np.clip(colour + tone * pattern // 16, 0, 255)
    canvas[window] = (under * (255 - alpha) + over * alpha + 127) // 255


def _colour(rng: np.random.Generator, under: NDArray[np.int32], contrast: int) -> NDArray[np.int32]:
    """The first of 12 random RGB colours [3] at least `contrast` away from `under`.

    If there is none, the one that is farthest away.
    """
    tries = rng.integers(0, 256, (12, 3), dtype=np.int32)
    distance = ((tries - under) ** 2).sum(axis=1)
    distinct = distance >= contrast**2
    return tries[distinct.argmax() if distinct.any() else distance.argmax()]


def _texture(rng: np.random.Generator, size: int) -> NDArray[np.int32]:
    """Pattern of values in -16..16, [size, size]: plain, gradient, stripes, checks or speckle."""
    pattern = rng.choice(["plain", "gradient", "stripes", "checks", "speckle"])
    if pattern == "plain":
        return np.zeros((size, size), np.int32)
    if pattern == "speckle":
        return rng.integers(-16, 17, (size, size), dtype=np.int32)
    slope = _slope(rng, size, 64)
    if pattern == "gradient":
        return (slope - slope.min()) * 32 // max(1, int(np.ptp(slope))) - 16
    width = 64 * int(rng.integers(2, 7))
    stripes = slope // width % 2
    if pattern == "checks":
        stripes ^= _slope(rng, size, 64) // width % 2
    return stripes * 32 - 16


def _slope(rng: np.random.Generator, size: int, steepness: int) -> NDArray[np.int32]:
    """Integer plane [size, size] rising by about `steepness` per pixel in a random direction."""
    angle = rng.uniform(0, 2 * math.pi)
    rise_x, rise_y = round(steepness * math.cos(angle)), round(steepness * math.sin(angle))
    steps = np.arange(size, dtype=np.int32)
    return steps * rise_x + steps[:, None] * rise_y
