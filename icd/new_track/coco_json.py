"""COCO JSON files, wherever their images lie in the folder."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from icd.data.annotations import complete, read_annotations
from icd.errors import InputError
from icd.new_track.parts import Found, Part, files_below, image_files, use_of

FORM = "COCO JSON"
KEYS = ("images", "annotations", "categories")
TRIED = 50  # images by which the folder of a file's images is found


def find(folder: Path, images: Path) -> Found | None:
    """The COCO files in a folder; None if there is none. ``images`` is not used."""
    files = [file for file in files_below(folder, ".json") if _is_coco(file)]
    if not files:
        return None
    found, by_name = Found(FORM, folder, []), defaultdict(list)
    for image in image_files(folder):
        by_name[image.name].append(image)
    for file in files:
        content = read_annotations(file)
        if content["images"]:
            found.parts.append(_part(file, content, folder, by_name, found.notes))
    return found


def _is_coco(file: Path) -> bool:
    """True for a file with COCO's keys; captions and panoptic segments have others."""
    text = file.read_text(encoding="utf-8", errors="replace")
    return all(f'"{key}"' in text for key in KEYS) and '"segments_info"' not in text


def _part(
    file: Path,
    content: dict[str, Any],
    folder: Path,
    by_name: Mapping[str, list[Path]],
    notes: list[str],
) -> Part:
    place = _image_folder(file, content, folder, by_name)
    name = file.relative_to(folder).as_posix()
    use = use_of(*place.relative_to(folder).parts, *file.relative_to(folder).parts)
    part = Part(name, use, content, place, file)
    if renumbered := complete(content)["id"]:
        notes.append(f"{name}: ids are 0, repeated or missing: {renumbered:,} are numbered anew")
    if content["annotations"] and all(one["iscrowd"] for one in content["annotations"]):
        for annotation in content["annotations"]:
            annotation["iscrowd"] = 0
        part.file = None
        notes.append(
            f"{name}: all annotations are marked as crowds, as CVAT marks drawn masks; they become"
            " objects (iscrowd: 0)"
        )
    part.missing = sum(not path.is_file() for path in part.paths)
    if part.missing:
        notes.append(f"{name}: images that do not exist are left out: {part.missing:,}")
    return part


def _image_folder(
    file: Path, content: dict[str, Any], folder: Path, by_name: Mapping[str, list[Path]]
) -> Path:
    """The folder that ``file_name`` of a file's images is relative to.

    The one that holds most of them, or that shares most of its name with the file: train2017 for
    instances_train2017.json.
    """
    names = [image["file_name"] for image in content["images"]]
    votes: Counter[Path] = Counter()
    for name in names[:: max(1, len(names) // TRIED)]:
        for image in by_name.get(PurePosixPath(name).name, ()):
            if image.as_posix().endswith(f"/{name}"):
                votes[image.parents[name.count("/")]] += 1
    if not votes:
        problem, expected = f"{names[0]} is nowhere in {folder}", "the images beside the file"
        raise InputError(file, "images[0].file_name", problem, expected)
    own = _words(file.relative_to(folder).parts)
    return max(votes, key=lambda p: (votes[p], len(own & _words(p.relative_to(folder).parts))))


def _words(names: Iterable[str]) -> set[str]:
    return {word for name in names for word in re.findall("[a-z0-9]+", name.lower())}
