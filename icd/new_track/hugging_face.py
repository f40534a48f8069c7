"""A Hugging Face data set on disk: saved by ``save_to_disk``, parquet files, or an image folder.

Images become files, because detectors read files. The library ``datasets`` is an optional extra,
imported only here.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from icd.data.images import read_header
from icd.errors import InputError
from icd.new_track.boxes import Boxes, Way, corners, way_of
from icd.new_track.objects import OBJECTS, class_names, columns, index, label_column
from icd.new_track.parts import (
    Found,
    Part,
    Size,
    box_annotation,
    coco,
    files_below,
    left_out_notes,
    use_of,
)
from icd.progress import counted

FORM = "Hugging Face data set"
SAVED = ("dataset_dict.json", "state.json", "dataset_info.json")  # what save_to_disk leaves
METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")  # of an image folder
REMEDY = "the library, by: python -m pip install 'icd-bench[huggingface]'"


def find(folder: Path, images: Path) -> Found | None:
    """The splits of a data set; None if the folder holds none.

    Args:
        folder: of the data set.
        images: folder to which the images are written.
    """
    if (
        not is_saved(folder)
        and not _is_image_folder(folder)
        and not files_below(folder, ".parquet")
    ):
        return None
    found = Found(FORM, images, [])
    for name, rows in _load(folder).items():
        found.parts.append(_part(str(name), rows, folder, images, found.notes))
    return found


def is_saved(folder: Path) -> bool:
    """True for a folder that save_to_disk wrote."""
    return (folder / "dataset_dict.json").is_file() or all(
        (folder / name).is_file() for name in SAVED[1:]
    )


def _is_image_folder(folder: Path) -> bool:
    return any(next(folder.rglob(name), None) for name in METADATA)


def _load(folder: Path) -> Mapping[str, Any]:
    """The splits by name, without decoded images.

    Raises:
        InputError: the library is not installed, or cannot read the folder.
    """
    try:
        import datasets
    except ImportError as error:
        raise InputError(folder, "", "needs the library datasets to be read", REMEDY) from error
    datasets.disable_progress_bars()
    try:
        if is_saved(folder):
            loaded = datasets.load_from_disk(str(folder))
        elif _is_image_folder(folder):
            loaded = datasets.load_dataset("imagefolder", data_dir=str(folder), streaming=True)
        else:
            files = _parquet_files(folder)
            loaded = datasets.load_dataset("parquet", data_files=files, streaming=True)
    except Exception as error:  # the library raises anything
        problem = f"cannot be read ({' '.join(str(error).split())})"
        raise InputError(
            folder, "", problem, "a data set that the library datasets reads"
        ) from error
    splits = loaded if isinstance(loaded, dict) else {folder.name: loaded}
    return {
        name: rows.cast_column("image", datasets.Image(decode=False))
        for name, rows in splits.items()
        if _has_objects(rows, folder)
    }


def _has_objects(rows: Any, folder: Path) -> bool:
    """True; raises InputError unless there are the columns of a detection data set."""
    columns = rows.column_names
    for name, expected in (("image", "a column of images"), ("objects", OBJECTS)):
        if name not in columns:
            raise InputError(folder, name, f"is not among the columns {columns}", expected)
    return True


def _parquet_files(folder: Path) -> dict[str, list[str]]:
    """Parquet files by split; those of one split are called train-00000-of-00002 and so on."""
    files: dict[str, list[str]] = {}
    for file in files_below(folder, ".parquet"):
        use = use_of(*file.relative_to(folder).parts)
        files.setdefault(use or folder.name, []).append(str(file))
    return files


def _part(name: str, rows: Any, folder: Path, images: Path, notes: list[str]) -> Part:
    """A split, whose images are written to a folder of its name."""
    key, labels = label_column(rows.features["objects"], folder)
    known: list[dict[str, Any]] = []
    boxes: list[Boxes] = []
    found: list[list[Any]] = []
    unread: list[str] = []
    for place, row in enumerate(counted(rows, getattr(rows, "num_rows", None), "rows converted")):
        image = _write_image(row["image"], images / name, f"{place:06}")
        if isinstance(image, str):
            unread.append(f"row {place} ({image})")
            continue
        file, (width, height) = image
        path = file.relative_to(images).as_posix()
        known.append({"file_name": path, "width": width, "height": height})
        objects = columns(row["objects"])
        boxes.append([list(map(float, box)) for box in objects.get("bbox", ())])
        found.append(list(objects.get(key, ())))
    sizes = [(image["width"], image["height"]) for image in known]
    way, classes = way_of(boxes, sizes), labels or class_names(found)
    indices = [[index(label, classes) for label in ids] for ids in found]
    every = list(_annotations(boxes, indices, sizes, way))
    kept = [annotation for annotation in every if annotation]
    notes += left_out_notes(name, unread, len(every) - len(kept))
    notes.append(f"{name}: boxes are taken for {way.words}")
    if not labels:
        notes.append(f"{name}: the data set does not name its classes: {', '.join(classes)}")
    return Part(name, use_of(name), coco(known, kept, classes), images)


def _annotations(
    boxes: Sequence[Boxes], labels: Sequence[list[int]], sizes: Sequence[Size], way: Way
) -> Iterator[dict[str, Any] | None]:
    """COCO's annotations of all images; None for a box of which nothing is in its image."""
    for place, (listed, indices, size) in enumerate(zip(boxes, labels, sizes, strict=True), 1):
        for box, label in zip(listed, indices, strict=True):
            shape = box_annotation(corners(box, way, size), *size)
            yield {"image_id": place, "category_id": label + 1, **shape} if shape else None


def _write_image(image: Any, folder: Path, stem: str) -> tuple[Path, Size] | str:
    """Write the bytes of an image as they are; its file and upright size, or why not."""
    try:
        data = image["bytes"] or Path(image["path"]).read_bytes()
        with Image.open(io.BytesIO(data)) as opened:
            kind = (opened.format or "png").lower()
    except Exception as error:  # a damaged file can make Pillow raise anything
        return " ".join(str(error).split())
    file = folder / f"{stem}.{'jpg' if kind in ('jpeg', 'mpo') else kind}"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    header = read_header(file)
    return header if isinstance(header, str) else (file, (header.width, header.height))
