"""Tracks and splits that a table may name although the present track has another name.

A table serves all tracks, also several of the user's. Those are known by their files, if they lie
in the working directory or in one of its folders, or by their results. Any other name is a mistake,
which would leave out what it stands for without a word.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from icd.errors import InputError
from icd.experiments.track import Track, shipped_tracks
from icd.experiments.yaml_files import WORKFLOW, read_yaml
from icd.files import read_json

STATED = ("\nname:", "\ndata:")  # a YAML file with both keys is taken for a track


def require_known_track(name: str, track: Track, file: Path, key: str) -> None:
    """Raise InputError unless a name is that of a track.

    Args:
        name: the name.
        track: the present track.
        file: file of the table that states the name.
        key: where it does.
    """
    if name not in (track.name, *shipped_tracks()) and name not in (known := splits_by_track()):
        expected = f"one of {sorted({track.name, *known})}, or one whose file lies in this folder"
        raise InputError(file, key, f"{name!r} is not a track", expected)


def require_known_split(name: str, track: Track, file: Path) -> None:
    """Raise InputError unless this or another track has a split of this name."""
    if name in track.splits:
        return
    known = {*track.splits}.union(*splits_by_track().values())
    if name not in known:
        raise InputError(file, "split", f"no track has a split {name!r}", f"one of {sorted(known)}")


def splits_by_track() -> dict[str, set[str]]:
    """Names of the splits of all tracks that can be found."""
    found: dict[str, set[str]] = defaultdict(set)
    for _, content in _contents():
        data = content["data"] if isinstance(content["data"], dict) else {}
        found[str(content["name"])] |= {*(data.get("splits") or {})}
    for results in Path("results").glob("*/"):
        survey = results / "data.json"
        known = read_json(survey, "what icd check writes") if survey.is_file() else {}
        found[results.name] |= {*known.get("splits", {})}
    return dict(found)


def files_by_track() -> dict[str, list[Path]]:
    """The files of all tracks that can be found, by name. Copies of a file share its name."""
    found: dict[str, list[Path]] = defaultdict(list)
    for file, content in _contents():
        found[str(content["name"])].append(file)
    return dict(found)


def _contents() -> Iterator[tuple[Path, dict[str, Any]]]:
    """File and content of every track: the shipped ones, and those in this folder or one below."""
    shipped = sorted((WORKFLOW / "tracks").glob("*.yaml"))
    theirs = (file for pattern in ("*.y*ml", "*/*.y*ml") for file in sorted(Path().glob(pattern)))
    for file in (*shipped, *filter(_is_track, theirs)):
        yield file, read_yaml(file, "track")


def _is_track(file: Path) -> bool:
    text = "\n" + file.read_text(errors="replace") if file.is_file() else ""
    return all(key in text for key in STATED)
