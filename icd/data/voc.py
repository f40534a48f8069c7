"""PASCAL VOC's XML as COCO annotations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from icd.errors import InputError

# In the order of the alphabet, as in VOC's development kit.
CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def convert(root: Path, sets: Sequence[str]) -> dict[str, Any]:
    """The images of VOC's image sets as the content of a COCO annotation file.

    Objects marked as difficult become crowds (``iscrowd``), as in mmdet's converter: they are not
    learned, finding them is not wrong, and not finding them misses nothing. VOC's own evaluation
    treats them in the same way. (detectron2 trains on them.)

    Args:
        root: the folder VOCdevkit, to which ``file_name`` is relative.
        sets: folder and image set, e.g. ``VOC2007/trainval``.

    Returns:
        Images and annotations numbered from 1 in the order of the sets, and the 20 categories.

    Raises:
        InputError: names the file, the key and what would be right.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for folder, name in image_names(root, sets):
        file = root / folder / "Annotations" / f"{name}.xml"
        tree = parse(file)
        image = {"id": len(images) + 1, "file_name": f"{folder}/JPEGImages/{name}.jpg"}
        images.append(image | _size(tree, file))
        for number, entry in enumerate(tree.findall("object")):
            known = {"id": len(annotations) + 1, "image_id": image["id"]}
            annotations.append(known | _object(entry, file, f"object[{number}]"))
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def image_names(root: Path, sets: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Folder and name of every image, e.g. ("VOC2007", "000005"), in the order of the lists."""
    seen: set[tuple[str, str]] = set()
    for entry in sets:
        folder, part = entry.split("/")
        file = root / folder / "ImageSets/Main" / f"{part}.txt"
        expected = "a list with the name of one image in each line"
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(file, "", f"cannot be read ({error})", expected) from error
        names = [line.strip() for line in lines if line.strip()]
        if not names:
            raise InputError(file, "", "names no image", expected)
        for name in names:
            if len(name.split()) > 1:  # the lists of single classes have a second column
                raise InputError(file, "", f"has the line {name!r}", expected)
            if (folder, name) in seen:
                raise InputError(file, "", f"{name} is listed a second time", "each image once")
            seen.add((folder, name))
            yield folder, name


def parse(file: Path) -> ElementTree.Element:
    """The outermost element of an annotation file; raises InputError unless it is VOC's."""
    expected = "the XML of PASCAL VOC"
    try:
        tree = ElementTree.parse(file).getroot()
    except OSError as error:
        raise InputError(file, "", f"cannot be read ({error.strerror})", expected) from error
    except (ElementTree.ParseError, ValueError) as error:  # ValueError: an unknown encoding
        raise InputError(file, "", f"is not valid XML ({error})", expected) from error
    if tree.tag != "annotation":
        raise InputError(file, tree.tag, "is the outermost element", f"annotation, in {expected}")
    return tree


def _size(tree: ElementTree.Element, file: Path) -> dict[str, int]:
    """Width and height of an image in pixels."""
    return {name: int(_number(tree, f"size/{name}", file, least=1)) for name in ("width", "height")}


def _object(entry: ElementTree.Element, file: Path, key: str) -> dict[str, Any]:
    """Category, box, area and ``iscrowd`` of an object.

    VOC counts pixels from 1 and includes the last: (xmin, xmax) = (1, W) covers the whole width.
    """
    name = (entry.findtext("name") or "").strip()
    if name not in CLASSES:
        raise InputError(file, f"{key}.name", f"is {name!r}", f"one of {', '.join(CLASSES)}")
    box = [_number(entry, f"bndbox/{corner}", file, key=key) for corner in CORNERS]
    left, top, right, bottom = box[0] - 1, box[1] - 1, box[2], box[3]
    if right <= left or bottom <= top:
        problem = f"is {dict(zip(CORNERS, box, strict=True))}"
        raise InputError(file, f"{key}.bndbox", problem, "xmin <= xmax and ymin <= ymax")
    difficult = (entry.findtext("difficult") or "0").strip()
    if difficult not in ("0", "1"):
        raise InputError(file, f"{key}.difficult", f"is {difficult!r}", "0 or 1")
    width, height = right - left, bottom - top
    return {
        "category_id": CLASSES.index(name) + 1,
        "bbox": [left, top, width, height],
        "area": width * height,
        "iscrowd": int(difficult),
    }


def _number(
    tree: ElementTree.Element, path: str, file: Path, least: float = -math.inf, key: str = ""
) -> float:
    """The number at a path. Some boxes of VOC 2012 have fractions of pixels."""
    place = ".".join(filter(None, (key, *path.split("/"))))
    text = tree.findtext(path)
    if text is None:
        raise InputError(file, place, "is missing", "a number of pixels")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= least):
        raise InputError(file, place, f"is {text.strip()!r}", "a number of pixels")
    return value
