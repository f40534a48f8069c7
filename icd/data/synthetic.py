"""The synthetic data set: shapes on clutter in COCO format. Equal seeds give equal bytes.

Every image has its own random generator, seeded with the seed, the name of the split and the index
of the image. So neither the number of worker processes nor their order changes a pixel.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import zlib
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from icd.data import GENERATOR_VERSION
from icd.data.natural import NaturalScenes
from icd.data.natural_spec import NaturalSpec
from icd.data.polygons import mask_to_polygons
from icd.data.scene import Scene, compose
from icd.data.shapes import CLASSES
from icd.errors import InputError
from icd.files import write_text


@dataclass(frozen=True)
class SyntheticSpec:
    """The parameters that determine the pixels.

    seed: seed of all images.
    image_size: side in px; object sizes scale with it.
    max_objects: largest number of objects per image.
    classes: number of classes, the first ones of :data:`icd.data.shapes.CLASSES`.
    natural: scenes like those of photographs instead, with numbers of objects and classes of their
        own.
    """

    seed: int
    image_size: int = 128
    max_objects: int = 6
    classes: int = len(CLASSES)
    natural: NaturalSpec | None = None

    def __post_init__(self) -> None:
        smallest = {"seed": 0, "image_size": 64, "max_objects": 1, "classes": 1}
        for key, least in smallest.items():
            if not isinstance(value := getattr(self, key), int) or value < least:
                raise InputError("synthetic data", key, f"{value!r}", f"an integer >= {least}")

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> SyntheticSpec:
        """The specification that a track states (``data.synthetic``)."""
        natural = parameters.get("natural")
        spec = None if natural is None else NaturalSpec.of(natural)
        return cls(**{**parameters, "natural": spec})

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, by index."""
        return NaturalScenes(self.natural).class_names if self.natural else CLASSES[: self.classes]

    def compose(self, rng: np.random.Generator) -> Scene:
        """A random scene."""
        if self.natural:
            return NaturalScenes(self.natural).compose(rng, self.image_size)
        return compose(rng, self.image_size, self.max_objects, self.classes)


def write_dataset(
    folder: Path, spec: SyntheticSpec, splits: dict[str, int], workers: int = 1
) -> None:
    """Write all splits into ``folder``; ``splits`` gives the number of images by name."""
    for split, count in splits.items():
        write_split(folder, split, count, spec, workers)


def write_split(
    folder: Path, split: str, count: int, spec: SyntheticSpec, workers: int = 1
) -> None:
    """Write `count` images to folder/split-count/ and then, atomically, folder/split-count.json.

    An old annotation file is removed first, so an existing file always matches the images.
    """
    if not re.fullmatch(r"\w[\w.-]*", split):
        raise InputError("synthetic data", "split", repr(split), "a plain name such as 'train'")
    target = folder / f"{split}-{count}.json"
    target.unlink(missing_ok=True)
    images = target.with_suffix("")
    images.mkdir(parents=True, exist_ok=True)
    write_one = partial(write_image, images, split, spec)
    if workers > 1:
        # Processes are spawned, because OpenCV's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, cv2.setNumThreads, (1,)) as pool:
            groups = list(pool.map(write_one, range(count), chunksize=32))
    else:
        groups = [write_one(index) for index in range(count)]
    write_text(target, json.dumps(_coco(split, spec, groups), separators=(",", ":")) + "\n")


def write_image(images: Path, split: str, spec: SyntheticSpec, index: int) -> list[dict[str, Any]]:
    """Write image `index` of a split into a folder and return its annotations, without ids."""
    entropy = np.random.SeedSequence(spec.seed, spawn_key=(zlib.crc32(split.encode()), index))
    scene = spec.compose(np.random.default_rng(entropy))
    # On noisy images, run-length encoding takes a third of the default's time at the same size.
    Image.fromarray(scene.image).save(images / _file_name(index), compress_type=zlib.Z_RLE)
    return annotate(scene)


def annotate(scene: Scene) -> list[dict[str, Any]]:
    """COCO annotations of the visible parts of the objects, without ids.

    Boxes are x, y, width and height in px, areas in px^2.
    """
    return [
        {
            "category_id": label + 1,
            "bbox": list(cv2.boundingRect(mask.astype(np.uint8))),
            "area": int(mask.sum()),
            "iscrowd": 0,
            "segmentation": mask_to_polygons(mask),
        }
        for label, mask in zip(scene.labels, scene.masks, strict=True)
    ]


def _coco(split: str, spec: SyntheticSpec, groups: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """Content of the COCO file; ``groups`` holds the annotations of each image."""
    size = spec.image_size
    flat = [(image, annotation) for image, group in enumerate(groups) for annotation in group]
    return {
        "info": {
            "description": "Synthetic shapes on clutter",
            "version": str(GENERATOR_VERSION),
            "split": split,
            **{key: value for key, value in asdict(spec).items() if value is not None},
        },
        "licenses": [],
        "images": [
            {"id": index, "file_name": _file_name(index), "width": size, "height": size}
            for index in range(len(groups))
        ],
        "annotations": [
            {"id": number, "image_id": image, **annotation}
            for number, (image, annotation) in enumerate(flat, 1)
        ],
        "categories": [
            {"id": number, "name": name, "supercategory": "shape"}
            for number, name in enumerate(spec.class_names, 1)
        ],
    }


def _file_name(index: int) -> str:
    return f"{index:06d}.png"
