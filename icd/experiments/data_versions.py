"""Which annotations a result comes from: the sha256 that it records, and that of the present file.

Times say nothing about content: a data set that replaces another may be older. Every run records
the annotations that it was trained on, every evaluation those that it was measured on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from icd.errors import InputError
from icd.experiments.run import Run
from icd.experiments.sources import short
from icd.experiments.track import Track
from icd.files import read_json, sha256, write_json

Hashes = Mapping[str, str]  # sha256 of the annotation file by split


def present_hashes(track: Track, memory: Path) -> dict[str, str]:
    """The sha256 of the annotation files that exist.

    Args:
        track: names the files.
        memory: JSON file that remembers hashes, so that an unchanged file is read only once.
    """
    known = _remembered(memory)
    files = {split: track.annotations(split) for split in track.splits}
    found = {split: file for split, file in files.items() if file.is_file()}
    now = {str(file.absolute()): state(file) for file in found.values()}
    hashes = {
        name: known[name][1] if name in known and known[name][0] == seen else sha256(Path(name))
        for name, seen in now.items()
    }
    if any(name not in known or known[name][0] != seen for name, seen in now.items()):
        write_json(memory, known | {name: [now[name], hashes[name]] for name in now})
    return {split: hashes[str(file.absolute())] for split, file in found.items()}


def state(file: Path) -> list[int]:
    """What the file system knows of a file; ctime also changes if a copy keeps the old mtime."""
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _remembered(memory: Path) -> dict[str, tuple[list[int], str]]:
    try:
        return {
            name: (entry[0], entry[1]) for name, entry in json.loads(memory.read_text()).items()
        }
    except (OSError, ValueError, AttributeError, TypeError, LookupError):
        return {}  # it only saves time


def trained_on(run: Run) -> str | None:
    """The sha256 of the annotations that a run was, or is being, trained on; None if unknown."""
    if run.manifest.is_file():
        inputs = read_json(run.manifest, "the provenance of a run").get("inputs", {})
    elif (record := run.folder / "work/inputs.json").is_file():
        inputs = read_json(record, "the inputs of a training")
    else:
        return None
    digits: str | None = inputs.get("annotations")
    return digits


def measured_on(metrics: Path) -> str | None:
    """The sha256 of the annotations that a file of metrics was measured on; None if unknown."""
    if not metrics.is_file():
        return None
    digits: str | None = read_json(metrics, "metrics that icd evaluate wrote").get(
        "annotations_sha256"
    )
    return digits


def is_surveyed(survey: Path, track: Track, present: Hashes) -> bool:
    """True if a survey describes the splits of a track and their present annotations."""
    known = read_json(survey, "what icd check writes").get("splits", {})
    return known.keys() == track.splits.keys() and all(
        known[split].get("sha256") == digits for split, digits in present.items()
    )


def require_trained_on(track: Track, runs: Iterable[Run], present: Hashes) -> None:
    """Raise InputError if finished or interrupted runs were trained on other annotations.

    To train them again would replace their weights, which nobody can undo.
    """
    for split, digits in present.items():
        other = {
            run.id: known
            for run in runs
            if run.split == split
            and run.iterations
            and (run.weights.exists() or (run.folder / "work").exists())
            and (known := trained_on(run)) not in (None, digits)
        }
        if other:
            raise _other_annotations(track, split, digits, other)


def _other_annotations(
    track: Track, split: str, digits: str, other: Mapping[str, str | None]
) -> InputError:
    first = next(iter(other))
    which = "the run" if len(other) == 1 else f"{len(other)} runs, such as"
    return InputError(
        track.annotations(split),
        "",
        f"is not the file that {which} {track.results}/runs/{first} was trained on"
        f" (sha256 {short(digits)} now, {short(other[first])} then)",
        f"the earlier file; for other data, another `name` in {track.file}; or --config"
        " retrain=true, which replaces these runs by runs on the present file",
    )
