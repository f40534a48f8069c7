"""Settings of a track that follow from its data: images, schedule and queries, with the reasons.

Batch and schedule are those of the tracks coco and coco-10 for their numbers of images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from icd.new_track.facts import Facts

SMALL_OBJECT = 32  # pixels to which images are enlarged for the smallest tenth of the objects
LARGEST_FACTOR = 5 / 3  # of COCO: from 480 to 800 pixels
MOST_PIXELS = 1333 * 800  # of an image of COCO
STEP = 32  # sides are multiples of it
COCO_IMAGES, COCO_EPOCHS = 118_287, 12
EPOCHS_PER_TENTH = 2.0  # coco-10 has twice the epochs with a tenth of the images
COCO_SECONDS = 1.5  # per iteration of 16 images, assumed in workflow/tracks/coco.yaml
BATCH, SMALLEST_BATCH = 16, 4
LEAST_PER_EPOCH = 100  # iterations, unless the batch would be too small
FAKE_RATIO = 5  # of ICD: fake instances per annotated one
MOST_QUERIES = 300  # of ICD
BINS = 5  # of ICD's hint of an object's size
LEFT_OR_RIGHT = ("left", "right")


@dataclass(frozen=True)
class Images:
    """Scale of the images.

    longest, shortest: sides in pixels, of testing.
    short_sides: of training.
    factor: by which an image of the median size is resized.
    smallest: pixels of the smallest tenth of the objects, as they are.
    """

    longest: int
    shortest: int
    short_sides: list[int]
    factor: float
    smallest: float


def image_settings(facts: Facts) -> Images:
    """Images as they are, enlarged if many objects are small, with at most COCO's pixels."""
    smallest = float(np.percentile(np.sqrt(facts.objects.prod(axis=1)), 10))
    wanted = min(max(SMALL_OBJECT / smallest, 1), LARGEST_FACTOR)
    short, long = facts.images.min(axis=1), facts.images.max(axis=1)
    aspect = float(np.percentile(long / short, 90))
    middle = float(np.median(short))
    most = math.sqrt(MOST_PIXELS / aspect)
    shortest = max(STEP, round(min(middle * wanted, most) / STEP) * STEP)
    longest = max(STEP, math.ceil(shortest * aspect / STEP - 0.01) * STEP)
    sides = {round(side / 8) * 8 for side in np.linspace(0.8 * shortest, shortest, 6)}
    return Images(longest, shortest, sorted({*sides, shortest}), shortest / middle, smallest)


@dataclass(frozen=True)
class Training:
    """Batch and schedule.

    epochs: of the student.
    unit: iterations of a 1x schedule.
    ramp, warmup: iterations in which the learning rate rises, and in which ICD's decoder learns
        before it teaches.
    checkpoint_every: iterations.
    seconds: of an iteration, assumed.
    """

    batch: int
    epochs: float
    unit: int
    ramp: int
    warmup: int
    checkpoint_every: int
    seconds: float


def training_settings(number: int, images: Images) -> Training:
    """COCO's batch and schedule for another number of images.

    Args:
        number: of training images.
        images: their scale.
    """
    fitting = 2 ** int(math.log2(max(number / LEAST_PER_EPOCH, 1)))
    batch = min(max(fitting, SMALLEST_BATCH), BATCH)
    tenths = math.log10(COCO_IMAGES / number)
    epochs = COCO_EPOCHS * max(EPOCHS_PER_TENTH**tenths, 1)
    unit = _rounded(epochs * number / batch)
    pixels = images.longest * images.shortest / MOST_PIXELS
    return Training(
        batch=batch,
        epochs=unit * batch / number,
        unit=unit,
        ramp=min(500, max(unit // 10, 1)),
        warmup=min(1000, max(unit // 10, 1)),
        checkpoint_every=max(min(5000, unit // 4), 1),
        seconds=max(round(COCO_SECONDS * pixels * batch / BATCH, 2), 0.01),
    )


def _rounded(number: float) -> int:
    """A number with two digits that count."""
    return max(int(float(f"{number:.2g}")), 1)


@dataclass(frozen=True)
class Queries:
    """Settings of ICD.

    cap: most queries per image.
    objects: of an image with more than 99 % of the images.
    offset: where the bins of sizes begin.
    limits: between the bins, in pixels.
    """

    cap: int
    objects: int
    offset: float
    limits: list[int]


def query_settings(facts: Facts, images: Images) -> Queries:
    """Room for the fakes of nearly all images, and bins that divide the objects most evenly."""
    objects = math.ceil(np.percentile(facts.per_image, 99))
    cap = min(math.ceil((1 + FAKE_RATIO) * objects / 10) * 10, MOST_QUERIES)
    octaves = np.log2(facts.at((images.longest, images.shortest)).clip(min=1)).ravel()
    middle = float(np.median(octaves)) - BINS / 2  # where the third bin holds the median
    offset = max(range(8), key=lambda o: (round(_evenness(octaves, o), 2), -abs(o - middle)))
    limits = [2 ** (offset + i) for i in range(1, BINS)]
    return Queries(cap, objects, float(offset), limits)


def _evenness(octaves: np.ndarray, offset: int) -> float:
    """Entropy of the shares of ICD's bins (:class:`icd.methods.icd.queries.QueryEncoder`)."""
    bins = (octaves - offset).clip(0, BINS - 1).astype(int)
    shares = np.bincount(bins, minlength=BINS) / len(bins)
    return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())


def has_sides(facts: Facts) -> bool:
    """True if a class seems to tell left from right, so that images must not be mirrored."""
    words = (name.lower().replace("-", " ").replace("_", " ").split() for name in facts.classes)
    return any(side in found for found in words for side in LEFT_OR_RIGHT)
