"""The images of a rehearsal: some of the data set's own, or random ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from icd.data import SplitFiles
from icd.data.annotations import complete, read_annotations
from icd.data.survey import instances, write_survey
from icd.data.synthetic import SyntheticSpec
from icd.experiments.kind import FILES
from icd.experiments.splits import TEST, TRAIN
from icd.experiments.track import Track
from icd.files import write_json

OBJECTS = 7  # in each random image, as COCO has on average
COCO_CLASSES = 80
COCO_SIZES = ((640, 480), (480, 640))  # width and height in pixels
Content = dict[str, Any]


def write_images(track: Track, folder: Path, count: int, random: bool) -> Path:
    """Write images and annotations of a rehearsal into a folder, and check them.

    Args:
        track: the track whose data is sampled or imitated.
        folder: folder to write, with the files of :data:`icd.experiments.kind.FILES`.
        count: training images; there are a few test images besides.
        random: make random images of COCO's sizes, or of the synthetic data's.

    Returns:
        The file of the survey, which names the classes.

    Raises:
        InputError: the data set is missing or broken.
    """
    for split, images in ((TRAIN, count), (TEST, 4)):
        if random:
            write_random(folder, split, images, class_names(track), image_sizes(track))
        else:
            write_sample(track, folder, split, images)
    files = {
        name: SplitFiles(folder / split.annotations, folder / split.images)
        for name, split in FILES.items()
    }
    survey = folder / "data.json"
    write_survey(files, survey)
    return survey


def class_names(track: Track) -> list[str]:
    """Classes of a track's data if they are known, otherwise as many names as COCO has classes."""
    if track.annotations(TRAIN).is_file():
        categories = json.loads(track.annotations(TRAIN).read_text())["categories"]
        return [category["name"] for category in categories]
    if track.synthetic:
        return list(SyntheticSpec.of(track.synthetic.synthetic.stated()).class_names)
    return [f"class {i}" for i in range(COCO_CLASSES)]


def image_sizes(track: Track) -> Sequence[tuple[int, int]]:
    """Widths and heights of random images."""
    if track.synthetic:
        side = track.synthetic.synthetic.image_size
        return [(side, side)]
    return COCO_SIZES


def write_sample(track: Track, folder: Path, split: str, count: int) -> None:
    """Take some evenly spaced images of a split that hold objects."""
    content = read_annotations(track.annotations(split))
    complete(content)
    filled = {annotation["image_id"] for annotation in instances(content)}
    images = [image for image in content["images"] if image["id"] in filled]
    places = np.linspace(0, len(images) - 1, min(count, len(images))).astype(int)
    chosen = [images[place] for place in places]
    ids = {image["id"] for image in chosen}
    annotations = [one for one in content["annotations"] if one["image_id"] in ids]
    categories = content["categories"]
    _write(folder, split, {"images": chosen, "annotations": annotations, "categories": categories})
    (folder / split).symlink_to(track.images(split).resolve())


def write_random(
    folder: Path, split: str, count: int, classes: Sequence[str], sizes: Sequence[tuple[int, int]]
) -> None:
    """Write images of coloured noise with objects at random places.

    Args:
        folder: folder to write.
        split: name of the annotation file and of the folder of images.
        count: number of images.
        classes: names of the classes.
        sizes: widths and heights in pixels, which the images take in turn.
    """
    generator = np.random.default_rng(len(split))
    images: list[Content] = []
    annotations: list[Content] = []
    (folder / split).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        width, height = sizes[number % len(sizes)]
        name = f"{number}.jpg"
        cv2.imwrite(str(folder / split / name), _noise(generator, width, height))
        images.append({"id": number + 1, "file_name": name, "width": width, "height": height})
        for _ in range(OBJECTS):
            one = _object(generator, width, height, len(classes))
            annotations.append(one | {"id": len(annotations) + 1, "image_id": number + 1})
    categories = [{"id": i, "name": name} for i, name in enumerate(classes, 1)]
    _write(folder, split, {"images": images, "annotations": annotations, "categories": categories})


def _noise(generator: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Pixels [height, width, 3] that compress about as well as a photograph."""
    coarse = generator.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3)).astype(np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    noise = generator.integers(-8, 9, (height, width, 3))
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


def _object(generator: np.random.Generator, width: int, height: int, classes: int) -> Content:
    """An annotation: a diamond in a box of 5 to 40 percent of the image's sides."""
    w, h = ((0.05 + 0.35 * generator.random(2)) * (width, height)).tolist()
    x, y = (generator.random(2) * (width - w, height - h)).tolist()
    corners = [x + w / 2, y, x + w, y + h / 2, x + w / 2, y + h, x, y + h / 2]
    return {
        "category_id": int(generator.integers(classes)) + 1,
        "bbox": [x, y, w, h],
        "area": w * h / 2,
        "iscrowd": 0,
        "segmentation": [corners],
    }


def _write(folder: Path, split: str, content: Content) -> None:
    write_json(folder / FILES[split].annotations, content)
