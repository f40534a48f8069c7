"""A track for a folder of data."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from icd.errors import InputError
from icd.experiments.splits import MADE, TRAIN
from icd.experiments.track import load_track, shipped_tracks
from icd.files import write_text
from icd.new_track import anchors
from icd.new_track.facts import facts_of
from icd.new_track.find import find
from icd.new_track.parts import Found, Part
from icd.new_track.placing import LINK, REPORT, Placed, place, require_free
from icd.new_track.settings import has_sides, image_settings, query_settings, training_settings
from icd.new_track.splitting import Splits, split
from icd.new_track.track_file import Derived, track_text

NAMED = 20  # classes that the report names


def write_track(
    folder: Path,
    name: str | None = None,
    output: Path | None = None,
    seed: int = 0,
    form: str | None = None,
) -> str:
    """Look at a folder of data, convert what must be, and write a track for it.

    Args:
        folder: with images and annotations.
        name: of the track; by default, that of the folder.
        output: YAML file to write; by default ``NAME.yaml``.
        seed: of the splits, if there is only one.
        form: name of the format, if several fit, see :data:`icd.new_track.find.FORMATS`.

    Returns:
        What was found and done, as lines of text.

    Raises:
        InputError: the data cannot be used, or files would be overwritten.
    """
    name = track_name(folder) if name is None else name
    _require_usable(name)
    output = output or Path(f"{name}.yaml")
    if output.exists():
        raise InputError(output, "", "exists", "another --output or --name, or that it be deleted")
    require_free(name)
    with _removed_after_failure(MADE / name):
        found = find(folder, MADE / name / LINK, form)
        splits = split(found, seed)
        placed = place(name, folder, found, splits)
        origin = f"{folder} ({found.form})"
        text = track_text(name, folder.resolve().name, origin, placed, splits, derive(splits))
        write_text(output, text)
        try:
            load_track(str(output)).require_files()
        except InputError:
            output.unlink()
            raise
    return "\n".join(_report(folder, output, found, splits, placed))


def derive(splits: Splits) -> Derived:
    """The settings that follow from the training split."""
    facts = facts_of(splits[TRAIN].content)
    images = image_settings(facts)
    return Derived(
        facts=facts,
        images=images,
        anchors=anchors.choose(facts.at((images.longest, images.shortest))),
        training=training_settings(len(facts.images), images),
        queries=query_settings(facts, images),
        mirrored=not has_sides(facts),
    )


def track_name(folder: Path) -> str:
    """The name of a folder as that of a track."""
    return re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-_") or "own"


def _require_usable(name: str) -> None:
    """Raise InputError unless a track may have this name."""
    if name in shipped_tracks():
        expected = "another one, by --name"
        raise InputError("--name", "", f"{name!r} is a track of the project", expected)
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise InputError("--name", "", f"is {name!r}", "small letters, digits, - and _")


@contextmanager
def _removed_after_failure(folder: Path) -> Iterator[None]:
    """Remove a half-converted data set, so that the command can be repeated."""
    try:
        yield
    except BaseException:  # also after Ctrl-C
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _report(
    folder: Path, output: Path, found: Found, splits: Splits, placed: Placed
) -> Iterator[str]:
    yield f"{folder}: {found.form}"
    yield from (_counts(use, part) for use, part in splits.items())
    names = splits[TRAIN].classes
    yield f"  classes: {', '.join(names[:NAMED])}{', ...' if names[NAMED:] else ''}"
    yield from (f"  note: {note}" for note in found.notes)
    if placed.converted:
        yield f"converted once, to {placed.root}; this report: {placed.root / REPORT}"
    else:
        yield "nothing was converted: the track names your files"
    yield f"written: {output}"
    yield f"next: python -m icd check {output}"


def _counts(use: str, part: Part) -> str:
    images, classes = len(part.content["images"]), len(part.classes)
    origin = f" from {part.name}" if part.name != use else ""
    return f"  {use}: {images:,} images, {part.objects:,} objects in {classes} classes{origin}"
