"""What runs, data and caches leave that nothing needs any more."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from icd.data.made import verify_made
from icd.errors import InputError
from icd.experiments.run import ImportedRun, Run
from icd.experiments.snapshots import metrics_file, snapshot_file
from icd.experiments.splits import MADE
from icd.experiments.track import Track, load_track
from icd.experiments.zoo import WEIGHTS
from icd.files import PREFIX, read_json
from icd.process.lock import held_by
from icd.upkeep.items import Item
from icd.upkeep.states import state_of

DAY = 86_400.0  # seconds after which nobody writes a half-written file any more


def checkpoints(runs: Mapping[str, Run]) -> Iterator[Item]:
    """The checkpoints of finished runs, and snapshots whose AP is known.

    Logs, from which curves are drawn, and ``work/finished`` stay.
    """
    for run in runs.values():
        if state_of(run).state != "finished":
            continue
        work = run.folder / "work"
        found = [*work.glob("iter_*.pth"), *work.glob("*.refused")]
        for file in (work / "snapshots").glob("iter_*.pth"):
            (iteration,) = re.findall(r"\d+", file.stem)
            if metrics_file(run, int(iteration)).is_file():
                found.append(snapshot_file(run, int(iteration)))
        if found:
            yield Item("checkpoints", tuple(sorted(found)), run.folder)


def unneeded_runs(runs: Mapping[str, Run], planned: Collection[str]) -> Iterator[Item]:
    """The folders of runs that are in no table, unless a process may work there."""
    for name, run in runs.items():
        if name not in planned and not state_of(run).busy:
            yield Item("runs", (run.folder,), run.folder)


def old_data(name: str, tracks: Sequence[Track]) -> Iterator[Item]:
    """Generated data that no present description of a track has.

    Args:
        name: of the track.
        tracks: one for each of its files.
    """
    roots = {track.data_root for track in tracks if track.synthetic}
    for folder in sorted(MADE.glob(f"{name}-*/")) if roots else ():
        if not re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{10}}", folder.name):
            continue
        if folder not in roots:
            yield Item("data", (folder,))
            continue
        present = {split.images for track in tracks for split in track.splits.values()}
        for part in sorted(folder.glob("*/")):
            if re.fullmatch(r".+-\d+", part.name) and part.name not in present:
                beside = part.with_suffix(".json")
                yield Item("data", (part, *([beside] if beside.is_file() else [])))


def outdated_annotations() -> Iterator[Item]:
    """Annotation files that the pipeline made from files that are gone or have changed.

    Before it uses one, it would refuse it and ask for it to be deleted.
    """
    for file in sorted(MADE.glob("*.json")):
        try:
            made = read_json(file, "an annotation file").get("info", {}).get("made", {})
            sources = [Path(source) for source in made.get("sources", {})]
        except (InputError, AttributeError):
            continue  # not the pipeline's
        if not sources:
            continue
        try:
            verify_made(file, sources)
        except (InputError, FileNotFoundError):
            yield Item("data", (file,))


def caches(tracks: Collection[str]) -> Iterator[Item]:
    """What only interrupted processes left, and weights for no table.

    Args:
        tracks: names of the tracks whose folders of results are looked at.
    """
    for name in tracks:
        results = Path("results", name)
        for folder in sorted((results / "rehearsal/work").glob("*/")):
            if held_by(folder) is None:
                yield Item("caches", (folder,), folder)
        yield from half_written(results / "runs")
    yield from half_written(MADE)


def half_written(folder: Path) -> Iterator[Item]:
    """Temporary files that a killed process left more than a day ago."""
    old = time.time() - DAY
    for path in sorted(folder.rglob(f"{PREFIX}*")):
        if path.lstat().st_mtime < old:
            yield Item("caches", (path,))


def unneeded_weights(planned: Collection[Run]) -> Iterator[Item]:
    """Downloaded teachers that no table of any known track needs."""
    needed = {Path(run.checkpoint) for run in planned if isinstance(run, ImportedRun)}
    for file in weights():
        if file not in needed:
            yield Item("caches", (file,))


def weights() -> list[Path]:
    """The downloaded teachers."""
    return sorted(WEIGHTS.glob("*.pth"))


def with_generated_data(name: str) -> Track:
    """A track by its name or file. The root of its data is only known if they are generated."""
    track = load_track(name, data_root=Path())
    return load_track(name) if track.synthetic else track
