"""The format of a folder of data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from icd.errors import InputError
from icd.new_track import coco_json, hugging_face, voc_xml, yolo_text
from icd.new_track.parts import Found

# In the order in which they are tried, by their names on the command line.
FORMATS: dict[str, Callable[[Path, Path], Found | None]] = {
    "coco": coco_json.find,
    "yolo": yolo_text.find,
    "voc": voc_xml.find,
    "huggingface": hugging_face.find,
}


def find(folder: Path, images: Path, form: str | None = None) -> Found:
    """The data in a folder.

    Args:
        folder: of the user's.
        images: folder for images that are no files there.
        form: name of the format; by default, the first that fits.

    Raises:
        InputError: there are none, or they cannot be used.
    """
    if not folder.is_dir():
        raise InputError(folder, "", "does not exist", "a folder with images and annotations")
    for name in [form] if form else FORMATS:
        if (found := FORMATS[name](folder, images)) and found.parts:
            return found
    problem = "holds no annotations" + (f" of the format {form}" if form else "")
    known = "a COCO JSON file, YOLO's data.yaml or labels, VOC's XML or a Hugging Face data set"
    raise InputError(folder, "", problem, known)
