"""Several parts as one, and the same classes in all parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from icd.new_track.parts import Found, Part


def merged(parts: Sequence[Part], found: Found) -> Part:
    """All images of several parts as one part, numbered anew; a single one as it is."""
    if len(parts) == 1:
        return parts[0]
    names = _names(parts)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for part in parts:
        content = with_classes(relative_to(part, found.root).content, names)
        first = len(images) + 1
        ids = {image["id"]: i for i, image in enumerate(content["images"], first)}
        images += [image | {"id": ids[image["id"]]} for image in content["images"]]
        for annotation in content["annotations"]:
            image = ids[annotation["image_id"]]
            annotations.append(annotation | {"id": len(annotations) + 1, "image_id": image})
    name = " + ".join(part.name for part in parts)
    found.notes.append(f"{name}: are taken together, images and annotations numbered anew")
    content = {"images": images, "annotations": annotations, "categories": categories(names)}
    missing = sum(part.missing for part in parts)
    return Part(name, parts[0].use, content, found.root, missing=missing)


def same_classes(splits: Mapping[str, Part], found: Found) -> dict[str, Part]:
    """The splits with the same classes, in the same order: those of all of them."""
    names = _names(splits.values())
    if all(part.classes == names for part in splits.values()):
        return dict(splits)
    found.notes.append(
        f"the splits list different classes; all get the {len(names)} that any has, numbered anew"
    )
    return {
        name: replace(part, content=with_classes(part.content, names), file=None)
        for name, part in splits.items()
    }


def with_classes(content: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The same annotations with these categories, which count from 1."""
    own = {category["id"]: category["name"] for category in content["categories"]}
    ids = {name: i for i, name in enumerate(names, 1)}
    annotations = [
        annotation | {"category_id": ids[own[annotation["category_id"]]]}
        for annotation in content["annotations"]
    ]
    return dict(content) | {"annotations": annotations, "categories": categories(names)}


def relative_to(part: Part, root: Path) -> Part:
    """The part with names of images relative to another folder, which holds its own."""
    if part.images == root:
        return part
    place = part.images.relative_to(root)
    images = [
        image | {"file_name": (place / image["file_name"]).as_posix()}
        for image in part.content["images"]
    ]
    return replace(part, content=part.content | {"images": images}, images=root)


def categories(names: Iterable[str]) -> list[dict[str, Any]]:
    """COCO's categories of these names, which count from 1."""
    return [{"id": i, "name": name} for i, name in enumerate(names, 1)]


def _names(parts: Iterable[Part]) -> list[str]:
    """The classes of all parts, each once, in their order."""
    return list(dict.fromkeys(name for part in parts for name in part.classes))
