"""The classes of a checkpoint against those of the track: their order decides what a head means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from icd.errors import InputError
from icd.process.signals import tell
from icd.training.checkpoint import read_classes

KEY = "meta.dataset_meta.classes"


def require_same_classes(checkpoint: Path, classes: Sequence[str]) -> None:
    """Compare the classes that a checkpoint states with those of the track.

    Prints a line if the checkpoint states none, or if it has as many under other names.

    Args:
        checkpoint: weights of a detector, with mmengine's ``meta``.
        classes: names of the track's classes, by index.

    Raises:
        InputError: a class has another index in the checkpoint, or their number differs.
    """
    theirs = read_classes(checkpoint)
    if theirs is None:
        tell(f"{checkpoint}: states no classes; their order cannot be compared with the data's")
        return
    if len(theirs) != len(classes):
        problem = f"are {len(theirs)} classes: {theirs}"
        raise InputError(checkpoint, KEY, problem, f"the {len(classes)} of the data: {[*classes]}")
    ours, found = ([_plain(name) for name in names] for names in (classes, theirs))
    if sorted(ours) == sorted(found) and ours != found:
        problem = f"are the same classes in another order: {theirs}"
        raise InputError(checkpoint, KEY, problem, f"the order of the data: {[*classes]}")
    if moved := [name for name in ours if name in found and found.index(name) != ours.index(name)]:
        problem = f"give {moved[0]!r} another index: {theirs}"
        raise InputError(checkpoint, KEY, problem, f"that of the data: {[*classes]}")
    if ours != found:
        tell(f"{checkpoint}: {KEY} are {theirs}; the data's are {[*classes]}, taken as the same")


def _plain(name: str) -> str:
    """A name without the differences in case and separators that data sets have."""
    return name.casefold().replace("_", " ").replace("-", " ").strip()
