"""Which data a result comes from: the hashes that it records, and those of the present files.

Times say nothing about content: a data set that replaces another may be older. Every run records
the annotations and images that it was trained on, every evaluation those that it was measured on.
Annotations are hashed whenever they may have changed. Images are only looked at: ``icd check``
compares their contents.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from icd.data.contents import CHANGED, known_contents, memory_file
from icd.errors import InputError
from icd.experiments.run import Run
from icd.experiments.sources import short
from icd.experiments.track import Track
from icd.files import read_json, sha256, write_json


class Version(NamedTuple):
    """Which data these are.

    annotations: sha256 of the annotation file.
    contents: hash of the contents of its images; None if unknown,
        :data:`icd.data.contents.CHANGED` if present ones have changed since they were read.
    """

    annotations: str
    contents: str | None = None


Versions = Mapping[str, Version]  # by split


def present_versions(track: Track, memory: Path | None = None) -> dict[str, Version]:
    """The versions of the splits whose annotation files exist. No image is read.

    Args:
        track: names the files; its folder of results remembers images.
        memory: JSON file that remembers hashes of annotations, so that an unchanged file is read
            only once.
    """
    found = {}
    for split, digits in present_hashes(track, memory).items():
        images = track.images(split)
        file = memory_file(track.results / "runs", split, images)
        found[split] = Version(digits, known_contents(file, digits, images))
    return found


def present_hashes(track: Track, memory: Path | None = None) -> dict[str, str]:
    """The sha256 of the annotation files that exist, see :func:`present_versions`."""
    known = _remembered(memory)
    files = {split: track.annotations(split) for split in track.splits}
    found = {split: file for split, file in files.items() if file.is_file()}
    now = {str(file.absolute()): state(file) for file in found.values()}
    hashes = {
        name: known[name][1] if name in known and known[name][0] == seen else sha256(Path(name))
        for name, seen in now.items()
    }
    if memory and any(name not in known or known[name][0] != seen for name, seen in now.items()):
        write_json(memory, known | {name: [now[name], hashes[name]] for name in now})
    return {split: hashes[str(file.absolute())] for split, file in found.items()}


def state(file: Path) -> list[int]:
    """What the file system knows of a file; ctime also changes if a copy keeps the old mtime."""
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _remembered(memory: Path | None) -> dict[str, tuple[list[int], str]]:
    try:
        known = json.loads(memory.read_text()) if memory else {}
        return {name: (entry[0], entry[1]) for name, entry in known.items()}
    except (OSError, ValueError, AttributeError, TypeError, LookupError):
        return {}  # it only saves time


def trained_on(run: Run) -> Version | None:
    """The data that a run was, or is being, trained on; None if unknown."""
    if run.manifest.is_file():
        inputs = read_json(run.manifest, "the provenance of a run").get("inputs", {})
    elif (record := run.folder / "work/inputs.json").is_file():
        inputs = read_json(record, "the inputs of a training")
    else:
        return None
    return _version(inputs.get("annotations"), inputs.get("contents"))


def measured_on(metrics: Path) -> Version | None:
    """The data that a file of metrics was measured on; None if unknown."""
    if not metrics.is_file():
        return None
    content = read_json(metrics, "metrics that icd evaluate wrote")
    return _version(content.get("annotations_sha256"), content.get("contents_sha256"))


def _version(annotations: str | None, contents: str | None) -> Version | None:
    return Version(annotations, contents) if annotations else None


def is_of(
    known: Version | None, present: Version | None, trusted: Collection[str | None] = ()
) -> bool:
    """True if a result comes from the present data.

    Args:
        known: what it records; of earlier versions, the annotations alone.
        present: the data that lie there now, if any.
        trusted: what ``present.contents`` may be instead of a hash for images to be taken for the
            same: None, CHANGED or both.
    """
    if known is None or present is None or known.annotations != present.annotations:
        return False
    if present.contents in (None, CHANGED):
        return present.contents in trusted
    return known.contents in (None, present.contents)


def surveyed(survey: Path) -> dict[str, Version]:
    """The versions of the splits that a survey describes."""
    splits = read_json(survey, "what icd check writes").get("splits", {})
    return {
        split: Version(counts.get("sha256"), counts.get("contents_sha256"))
        for split, counts in splits.items()
    }


def is_surveyed(survey: Path, track: Track, present: Versions) -> bool:
    """True if a survey describes the splits of a track, their annotations and their images."""
    known = surveyed(survey)
    return known.keys() == track.splits.keys() and all(
        known[split] == version and version.contents for split, version in present.items()
    )


def require_trained_on(track: Track, runs: Iterable[Run], present: Versions) -> None:
    """Raise InputError if finished or interrupted runs were trained on other data.

    To train them again would replace their weights, which nobody can undo.
    """
    for error in on_other_data(track, runs, present):
        raise error


def on_other_data(track: Track, runs: Iterable[Run], present: Versions) -> Iterator[InputError]:
    """One error for each split on whose earlier data finished or interrupted runs were trained."""
    begun = [
        (run, known)
        for run in runs
        if run.iterations
        and (run.weights.exists() or (run.folder / "work").exists())
        and (known := trained_on(run))
    ]
    for split, now in present.items():
        then = {run.id: known for run, known in begun if run.split == split}
        annotations = {name: v.annotations for name, v in then.items()}
        if other := _differing(annotations, now.annotations):
            problem = "is not the file that {runs} trained on"
            yield _other_data(track, track.annotations(split), problem, now.annotations, other)
            continue
        contents = {name: v.contents for name, v in then.items() if v.contents}
        if now.contents not in (None, CHANGED) and (other := _differing(contents, now.contents)):
            problem = "holds other images than those that {runs} trained on"
            yield _other_data(track, track.images(split), problem, now.contents, other)


def _differing(known: Mapping[str, str], digits: str | None) -> dict[str, str]:
    """The runs that know another hash."""
    return {name: other for name, other in known.items() if other != digits}


def _other_data(
    track: Track, path: Path, problem: str, digits: str | None, other: Mapping[str, str]
) -> InputError:
    first = next(iter(other))
    runs = f"{track.results}/runs/{first}"
    runs = f"the run {runs} was" if len(other) == 1 else f"{len(other)} runs, such as {runs}, were"
    return InputError(
        path,
        "",
        problem.format(runs=runs) + f" (sha256 {short(digits)} now, {short(other[first])} then)",
        f"the earlier data; for other data, another `name` in {track.file}; or --config"
        " retrain=true, which replaces these runs by runs on the present data",
    )


def measured_elsewhere(track: Track, runs: Iterable[Run], present: Versions) -> Iterator[str]:
    """One line for each split on whose earlier data runs were measured."""
    ids = list(runs)
    for split, now in present.items():
        files = [run.metrics(split) for run in ids]
        known = {file: version for file in files if (version := measured_on(file))}
        if other := [file for file, version in known.items() if not is_of(version, now)]:
            results = "result is" if len(other) == 1 else "results are"
            yield (
                f"{len(other)} {results} of other data of the split {split}, such as {other[0]}:"
                " Snakemake measures them again when their tables are made"
            )
