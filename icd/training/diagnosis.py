"""What the measurements of a training say: their summary, and warnings.

The names of values are those of :mod:`icd.training.hooks.diagnosis`, with slashes: the RMS of a
level is ``rms/teacher/stride8``, a number of a layer ``layer1/recognised``, one of a head
``layer1/head1/inside``. Summaries have the mean over heads instead, ``layer1/inside``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

RMS_FACTOR = 5.0  # by which a level may differ from the others
EFFECTIVE = 0.1  # share of the tokens, below which attention has collapsed
DIGITS = 4  # significant ones in a summary


def summary(histories: Mapping[str, Sequence[float]], last: int) -> dict[str, Any]:
    """Means of the ``last`` measurements and over the heads of a layer.

    Returns:
        ``measurements``, the largest number of measurements in a mean, and ``values`` by name.
    """
    heads: dict[str, list[float]] = {}
    for name, history in histories.items():
        mean = fmean(history[-last:])
        heads.setdefault(re.sub(r"/head\d+/", "/", name), []).append(mean)
    values = {name: float(f"{fmean(own):.{DIGITS}g}") for name, own in heads.items()}
    measurements = max((len(history[-last:]) for history in histories.values()), default=0)
    return {"measurements": measurements, "values": values}


def warnings(values: Mapping[str, float]) -> dict[str, str]:
    """What is wrong with a training, by what it is about."""
    found = {}
    for name, value in values.items():
        parts = name.split("/")
        others = [
            other
            for key, other in values.items()
            if key != name and key.split("/")[:-1] == parts[:-1]
        ]
        if parts[0] == "rms" and others:
            usual = median(others)
            if not usual / RMS_FACTOR <= value <= usual * RMS_FACTOR:
                found[name] = (
                    f"the RMS of the {parts[1]}'s level {parts[2]} is {value:g}, the median of its"
                    f" other levels {usual:g}; losses and attention depend on such magnitudes"
                )
        if parts[-1] == "effective" and value < EFFECTIVE:
            found[name] = (
                f"the attention of {parts[0]} has collapsed: {100 * value:.1f} % of the tokens are"
                f" effective, less than {100 * EFFECTIVE:g} %"
            )
    return found
