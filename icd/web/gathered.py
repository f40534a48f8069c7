"""What was gathered from the runs for the page: one JSON file for each part, beside the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from icd.experiments.track import Track
from icd.files import read_json

CURVES, PRECISION = "curves", "precision"
IMAGES, DETECTIONS, ATTENTION = "images", "detections", "attention"
PARTS = (CURVES, PRECISION, IMAGES, DETECTIONS, ATTENTION)


def folder(track: Track) -> Path:
    """Where the gathered parts of a track's page lie."""
    return track.results / "web"


def file_of(track: Track, part: str) -> Path:
    """The file of a part."""
    return folder(track) / f"{part}.json"


def gathered(track: Track, part: str) -> dict[str, Any]:
    """A part as it was gathered; empty if it was not."""
    file = file_of(track, part)
    return read_json(file, "what icd gather writes") if file.is_file() else {}
