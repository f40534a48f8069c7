"""The list of what can be deleted, and its deletion."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from icd.errors import InputError
from icd.experiments.known_tracks import files_by_track
from icd.experiments.track import Track
from icd.process.lock import unused
from icd.upkeep import leftovers
from icd.upkeep.items import MEANINGS, Item, Kind, is_committed, megabytes
from icd.upkeep.listing import RESULTS, planned_runs, runs_in
from icd.upkeep.states import state_of


@dataclass(frozen=True)
class Known:
    """The tracks that are known.

    tracks: those of each name, one for each file.
    refused: names of those with a file that is not valid, and why.
    """

    tracks: dict[str, list[Track]]
    refused: dict[str, str]


def known_tracks(track: Track | None) -> Known:
    """All tracks whose files can be found, or those with the name of ``track``."""
    tracks: dict[str, list[Track]] = {track.name: [track]} if track else {}
    refused: dict[str, str] = {}
    for name, files in files_by_track().items():
        if track and name != track.name:
            continue
        try:
            found = [leftovers.with_generated_data(str(file)) for file in files]
        except InputError as error:
            refused[name] = str(error)
        else:
            tracks.setdefault(name, []).extend(found)
    return Known({name: found for name, found in tracks.items() if name not in refused}, refused)


def clean(track: Track | None, kinds: Collection[Kind], delete: bool) -> str:
    """Say what can be deleted, and delete it if asked for; the report as text.

    Args:
        track: whose runs and data are looked at; all that can be found if None.
        kinds: of what is looked at, see :data:`icd.upkeep.items.MEANINGS`.
        delete: whether to delete it.
    """
    known = known_tracks(track)
    here = [track.name] if track else [folder.name for folder in sorted(RESULTS.glob("*/"))]
    items = [item for item in _items(known, here, whole=track is None) if item.kind in kinds]
    lines = list(_notes(known, here))
    total = 0
    for kind, meaning in MEANINGS.items():
        if found := [item for item in items if item.kind == kind]:
            lines.append(f"{kind}: {meaning}")
            for item in found:
                freed, note = handle(item, delete)
                total += freed
                lines.append(f"  {megabytes(freed):>9}  {item.name}{note}")
    return "\n".join([*lines, _summary(total, bool(items), delete)])


def _items(known: Known, here: Sequence[str], whole: bool) -> Iterator[Item]:
    """All that can be deleted; what may belong to any track only if all are looked at."""
    every = whole and any(leftovers.weights())  # they may be those of any track
    needed = {
        name: {run: one for track in tracks for run, one in planned_runs(track).items()}
        for name, tracks in known.tracks.items()
        if every or name in here
    }
    for name in here:
        runs = runs_in(RESULTS / name)
        unneeded = list(leftovers.unneeded_runs(runs, needed[name])) if name in needed else []
        gone = {item.run for item in unneeded}
        kept = {run: one for run, one in runs.items() if one.folder not in gone}
        yield from leftovers.checkpoints(kept)
        yield from unneeded
        if name in needed and not any(state_of(run).busy for run in runs.values()):
            yield from leftovers.old_data(name, known.tracks[name])
    yield from leftovers.caches(here)
    if whole:
        yield from leftovers.outdated_annotations()
    if whole and not known.refused:
        planned = [run for runs in needed.values() for run in runs.values()]
        yield from leftovers.unneeded_weights(planned)


def _notes(known: Known, here: Sequence[str]) -> Iterator[str]:
    """What is not looked at, and why."""
    for name in here:
        runs = runs_in(RESULTS / name)
        if runs and name not in known.tracks:
            why = known.refused.get(name, "its file is not in this folder (--track FILE)")
            yield f"{name}: which of its {len(runs):,} runs are needed is unknown: {why}"
        if busy := [run for run, one in runs.items() if state_of(one).busy]:
            yield f"{name}: {len(busy):,} runs may be running, such as {busy[0]}; they stay"


def handle(item: Item, delete: bool) -> tuple[int, str]:
    """The bytes that an item frees, and a note; deletes it if asked for and nobody uses it."""
    size = item.bytes
    if is_committed(item):
        return 0, " (stays, because git has files in it)"
    if not delete:
        return size, ""
    with unused(item.run) if item.run else nullcontext(True) as free:
        if not free:
            return 0, " (stays, because a process has begun to use it)"
        item.delete()
    return size, " (deleted)"


def _summary(total: int, found: bool, delete: bool) -> str:
    if not found:
        return "There is nothing to delete."
    if delete:
        return f"{megabytes(total)} are freed."
    return f"{megabytes(total)} can be freed. Nothing was deleted; --delete deletes all of this."
