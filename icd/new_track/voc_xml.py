"""PASCAL VOC's XML files, one for each image, in VOC's folders or beside the images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from icd.data.voc import CORNERS, parse
from icd.errors import InputError
from icd.new_track.parts import (
    IMAGES,
    Found,
    Part,
    box_annotation,
    coco,
    files_below,
    image_files,
    left_out_notes,
    some,
    upright_sizes,
    use_of,
)

FORM = "PASCAL VOC XML"
LISTS = ("train", "val", "valid", "test", "default")  # the last is CVAT's


def find(folder: Path, images: Path) -> Found | None:
    """The data in a folder of VOC's format; None if it has another. ``images`` is not used."""
    files = files_below(folder, ".xml")
    trees = {file: parse(file) for file in files if _is_annotation(file)}
    if not trees:
        return None
    found = Found(FORM, folder, [])
    first = _first_pixel(trees, found)
    names = sorted({_name(entry, file) for file, entry in _objects(trees)})
    if not names:
        raise InputError(folder, "", "has no object in its XML files", "at least one")
    parts = _parts(folder, trees)
    if left := [str(file) for file in trees if not any(file in part for part in parts.values())]:
        found.notes.append(f"annotations left out, because no list names them: {some(left)}")
    by_name = _by_name(folder)
    for use, part in sorted(parts.items()):
        pairs = {file: _image(file, trees[file], by_name) for file in part}
        content = _content(pairs, trees, names, folder, first, use or folder.name, found)
        found.parts.append(Part(use or folder.name, use_of(use), content, folder))
    return found


def _by_name(folder: Path) -> dict[str, Path]:
    """All images by their name with and without suffix; of several, the first."""
    images = image_files(folder)[::-1]
    return {file.stem: file for file in images} | {file.name: file for file in images}


def _is_annotation(file: Path) -> bool:
    """True for the XML of an image, by its outermost element."""
    with file.open(encoding="utf-8", errors="replace") as stream:
        return "<annotation" in stream.read(1000)


def _objects(
    trees: Mapping[Path, ElementTree.Element],
) -> Iterable[tuple[Path, ElementTree.Element]]:
    return ((file, entry) for file, tree in trees.items() for entry in tree.findall("object"))


def _name(entry: ElementTree.Element, file: Path) -> str:
    """The class of an object."""
    text = (entry.findtext("name") or "").strip()
    if not text:
        raise InputError(file, "object.name", "is missing", "the class of the object")
    return text


def _box(entry: ElementTree.Element, file: Path) -> list[float]:
    """Corners of an object as the file states them."""
    texts = [entry.findtext(f"bndbox/{corner}") or "" for corner in CORNERS]
    try:
        return [float(text) for text in texts]
    except ValueError as error:
        problem = f"is {dict(zip(CORNERS, texts, strict=True))}"
        raise InputError(file, "object.bndbox", problem, "four numbers of pixels") from error


def _first_pixel(trees: Mapping[Path, ElementTree.Element], found: Found) -> int:
    """The number that the first pixel has: 1 as in VOC's files, or 0 as in those of many tools."""
    corners = [value for file, entry in _objects(trees) for value in _box(entry, file)]
    first = 0 if any(value < 1 or value != int(value) for value in corners) else 1
    why = "some are 0 or fractions" if first == 0 else "none is below 1, as in VOC's own files"
    found.notes.append(f"corners of boxes are taken to count pixels from {first}: {why}")
    return first


def _parts(folder: Path, trees: Mapping[Path, Any]) -> dict[str, list[Path]]:
    """Annotation files by the name of their split: VOC's lists of images, else their folders."""
    parts: dict[str, list[Path]] = defaultdict(list)
    lists = [file for file in folder.rglob("ImageSets/Main/*.txt") if file.stem in LISTS]
    for file in sorted(lists):
        place = file.parents[2] / "Annotations"
        names = [line.split()[0] for line in file.read_text().splitlines() if line.strip()]
        parts[file.stem] += [one for name in names if (one := place / f"{name}.xml") in trees]
    if not any(parts.values()):
        for file in trees:
            parts[use_of(*file.relative_to(folder).parent.parts)].append(file)
    return {name: files for name, files in parts.items() if files}


def _content(
    pairs: Mapping[Path, Path | None],
    trees: Mapping[Path, ElementTree.Element],
    names: list[str],
    folder: Path,
    first: int,
    part: str,
    found: Found,
) -> dict[str, Any]:
    """The content of a COCO file with the images of a part, by their annotation files."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    unread = [f"{file} (no image)" for file, image in pairs.items() if image is None]
    outside = 0
    files = [(file, image) for file, image in pairs.items() if image]
    sizes = upright_sizes([image for _, image in files])
    for (file, image), size in zip(files, sizes, strict=True):
        if isinstance(size, str):
            unread.append(f"{image} ({size})")
            continue
        name = image.relative_to(folder).as_posix()
        images.append({"file_name": name, "width": size[0], "height": size[1]})
        for entry in trees[file].findall("object"):
            left, top, right, bottom = _box(entry, file)
            box = box_annotation((left - first, top - first, right, bottom), *size)
            outside += box is None
            if box:
                box["iscrowd"] = int((entry.findtext("difficult") or "0").strip() == "1")
                label = names.index(_name(entry, file)) + 1
                annotations.append({"image_id": len(images), "category_id": label, **box})
    found.notes += left_out_notes(part, unread, outside)
    if crowds := sum(one["iscrowd"] for one in annotations):
        found.notes.append(f"{part}: objects marked as difficult become crowds: {crowds:,}")
    return coco(images, annotations, names)


def _image(file: Path, tree: ElementTree.Element, by_name: Mapping[str, Path]) -> Path | None:
    """The image of an annotation file: beside it, in VOC's folder, or anywhere by its name."""
    stated = Path((tree.findtext("filename") or "").strip()).name
    for place in (file.parent, file.parent.parent / "JPEGImages", file.parent.parent / "images"):
        for name in (stated, *(f"{file.stem}{kind}" for kind in IMAGES)):
            if name and (place / name).is_file():
                return place / name
    return by_name.get(stated) or by_name.get(file.stem)
