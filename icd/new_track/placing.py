"""Where the files of a new track lie: the user's own, or converted ones in ``data/NAME``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from icd.data.made import write_made
from icd.errors import InputError
from icd.experiments.splits import MADE, Split
from icd.files import write_text
from icd.new_track.merging import relative_to
from icd.new_track.parts import Found, Part

LINK = "images"  # in the folder of converted files: the images, or a link to the user's folder
REPORT = "conversion.txt"


@dataclass(frozen=True)
class Placed:
    """The data of a track.

    root: folder that the splits' paths are relative to.
    converted: whether the annotations are files of the pipeline's.
    """

    root: Path
    splits: dict[str, Split]
    converted: bool


def place(name: str, folder: Path, found: Found, splits: Mapping[str, Part]) -> Placed:
    """Name the user's annotation files, or write converted ones if they cannot be used as they are.

    Args:
        name: of the track.
        folder: of the user's.
        found: the data in it.
        splits: of the track.

    Raises:
        InputError: files of another conversion are there.
    """
    if all(part.file for part in splits.values()):
        own = {use: _own(part, folder) for use, part in splits.items()}
        return Placed(folder.resolve(), own, converted=False)
    root = MADE / name
    root.mkdir(parents=True, exist_ok=True)
    link = root / LINK
    if found.root != link:
        link.symlink_to(found.root.resolve(), target_is_directory=True)
    sources = sorted({part.file for part in found.parts if part.file})
    for use, part in splits.items():
        content = _without_missing(relative_to(part, found.root))
        write_made(root / f"{use}.json", content.content, sources)
    write_text(root / REPORT, "\n".join([f"{folder}: {found.form}", *found.notes]) + "\n")
    made = {use: Split(annotations=f"{use}.json", images=LINK) for use in splits}
    return Placed(root, made, converted=True)


def require_free(name: str) -> None:
    """Raise InputError if there are converted files of a track of this name."""
    if (MADE / name).exists():
        expected = "another --name; or delete the folder to convert the data again"
        raise InputError(MADE / name, "", "holds data that were converted before", expected)


def _own(part: Part, folder: Path) -> Split:
    """A split that names the user's files; those of missing images are left out by the pipeline."""
    assert part.file, "it is one of the user's"
    paths = (path.relative_to(folder).as_posix() for path in (part.file, part.images))
    annotations, images = paths
    if part.missing:
        return Split(annotations=annotations, images=images, skip_broken=True)
    return Split(annotations=annotations, images=images)


def _without_missing(part: Part) -> Part:
    """The part without images that do not exist."""
    if part.missing:
        there = {
            i["id"] for i in part.content["images"] if (part.images / i["file_name"]).is_file()
        }
        for key, field in (("images", "id"), ("annotations", "image_id")):
            part.content[key] = [one for one in part.content[key] if one[field] in there]
    return part
