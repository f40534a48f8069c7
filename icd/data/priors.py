"""Class frequencies and object sizes: the distribution that fake instances are drawn from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Priors:
    """Per class: share of all instances, mean and standard deviation of (w / W, h / H).

    frequency: [classes], sums to 1.
    size_mean, size_std: [classes][2], as fractions of the image's width and height.
    A class without instances has frequency 0, so its sizes (0) are never drawn.
    """

    frequency: list[float]
    size_mean: list[list[float]]
    size_std: list[list[float]]


def compute_priors(instances: Iterable[tuple[int, float, float]], num_classes: int) -> Priors:
    """Priors of a data set from (class index, w / W, h / H) of each instance.

    Standard deviations are of the population. Means and deviations are rounded to six decimals.
    """
    sizes: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for label, width, height in instances:
        sizes[label].append((width, height))
    total = sum(map(len, sizes.values()))
    if total == 0:
        raise ValueError("no instances to compute priors from")
    per_class = [np.asarray(sizes[label] or [(0.0, 0.0)]) for label in range(num_classes)]
    return Priors(
        frequency=[len(sizes[label]) / total for label in range(num_classes)],
        size_mean=[array.mean(axis=0).round(6).tolist() for array in per_class],
        size_std=[array.std(axis=0).round(6).tolist() for array in per_class],
    )
