"""Data sets that the benchmark makes or reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Part of a synthetic data set's identity: raise it whenever a pixel or an annotation changes.
GENERATOR_VERSION = 1


@dataclass(frozen=True)
class SplitFiles:
    """Where a split lies.

    annotations: COCO JSON file.
    images: folder of the images.
    """

    annotations: Path
    images: Path
