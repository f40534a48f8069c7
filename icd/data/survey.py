"""The check of a COCO-format data set before any training, and the priors that follow from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from icd.data import SplitFiles
from icd.data.annotations import complete, mask_of, read_annotations
from icd.data.images import survey_images
from icd.data.priors import compute_priors
from icd.data.samples import write_samples
from icd.errors import InputError
from icd.files import sha256, write_json

TRAIN = "train"  # the split that defines classes and priors


def write_survey(
    splits: Mapping[str, SplitFiles], output: Path, decode_all: bool = False
) -> dict[str, Any]:
    """Check all splits of a data set and write classes, hashes, counts and priors as JSON.

    Also draws images of the training split to ``samples.png`` beside ``output``.

    Args:
        splits: files by the name of the split; ``train`` defines classes and priors.
        output: JSON file to write.
        decode_all: decode all images, not only a sample.

    Returns:
        The content of the JSON file.

    Raises:
        InputError: names the annotation file, the key, and the remedy.
    """
    contents = {name: read_annotations(files.annotations) for name, files in splits.items()}
    filled = {name: complete(content) for name, content in contents.items()}
    classes = class_names(contents[TRAIN])
    for name, content in contents.items():
        _require_usable(content, splits[name].annotations, classes, splits[TRAIN].annotations)
    counts = {
        name: survey_split(content, filled[name], splits[name], decode_all)
        for name, content in contents.items()
    }
    priors = compute_priors(relative_sizes(contents[TRAIN]), len(classes))
    survey = {"classes": classes, "splits": counts, "priors": asdict(priors)}
    write_samples(contents[TRAIN], splits[TRAIN].images, output.with_name("samples.png"))
    write_json(output, survey)
    return survey


def survey_split(
    content: dict[str, Any], filled: dict[str, int], files: SplitFiles, decode_all: bool
) -> dict[str, Any]:
    """Hash, counts and sizes of one split; content and counts as :func:`complete` left them."""
    return {
        "sha256": sha256(files.annotations),
        **count_instances(content),
        **count_oddities(content),
        "filled": filled,
        **image_sizes(content),
        **survey_images(content, files.annotations, files.images, decode_all),
    }


def _require_usable(content: dict[str, Any], file: Path, classes: list[str], train: Path) -> None:
    """Raise InputError unless a split has the classes of the training split, and an object."""
    if class_names(content) != classes:
        raise InputError(file, "categories", f"differ from those of {train}", f"{classes}")
    if not instances(content):
        raise InputError(file, "annotations", "hold no object", "at least one")


def class_names(content: dict[str, Any]) -> list[str]:
    """Names of the categories in the order of the file, which defines the class indices."""
    return [category["name"] for category in content["categories"]]


def relative_sizes(content: dict[str, Any]) -> Iterator[tuple[int, float, float]]:
    """(class index, w / W, h / H) of every instance of a split."""
    labels = {category["id"]: i for i, category in enumerate(content["categories"])}
    extents = image_extents(content)
    for annotation in instances(content):
        image_width, image_height = extents[annotation["image_id"]]
        _, _, width, height = annotation["bbox"]
        yield labels[annotation["category_id"]], width / image_width, height / image_height


def instances(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The annotations that detectors learn as objects, as mmdet's CocoDataset selects them.

    Leaves out crowds, annotations marked as ignored, and boxes that are less than a pixel wide or
    high or lie outside their image.
    """
    extents = image_extents(content)
    return [
        annotation
        for annotation in content["annotations"]
        if not (annotation["iscrowd"] or annotation.get("ignore"))
        and is_visible(annotation, *extents[annotation["image_id"]])
    ]


def is_visible(annotation: dict[str, Any], image_width: float, image_height: float) -> bool:
    """True if an annotation's box covers at least a pixel and overlaps the image."""
    x, y, width, height = annotation["bbox"]
    return (
        annotation["area"] > 0
        and min(width, height) >= 1
        and min(x + width, image_width) > max(x, 0)
        and min(y + height, image_height) > max(y, 0)
    )


def image_extents(content: dict[str, Any]) -> dict[int, tuple[float, float]]:
    """Width and height in pixels of every image by its id."""
    return {image["id"]: (image["width"], image["height"]) for image in content["images"]}


def count_instances(content: dict[str, Any]) -> dict[str, Any]:
    """Number of images, of objects, and of objects by class and by COCO's size ranges.

    ``ignored`` counts the annotations that :func:`instances` leaves out.
    """
    names = {category["id"]: category["name"] for category in content["categories"]}
    per_class = dict.fromkeys(names.values(), 0)
    per_size = {"small": 0, "medium": 0, "large": 0}
    found = instances(content)
    for annotation in found:
        area = annotation["area"]
        size = "small" if area < 32**2 else "medium" if area < 96**2 else "large"
        per_size[size] += 1
        per_class[names[annotation["category_id"]]] += 1
    return {
        "images": len(content["images"]),
        "objects": len(found),
        "ignored": len(content["annotations"]) - len(found),
        "by_size": per_size,
        "by_class": per_class,
    }


def count_oddities(content: dict[str, Any]) -> dict[str, int]:
    """Counts of what deserves a look.

    crowd: annotations of a crowd.
    cut: objects that are partly outside their image.
    invisible: annotations without area in their image, which no detector learns.
    without_mask: annotations that mmdet reads, without run lengths or a polygon that encloses area.
    run_lengths: objects whose mask is a run-length code.
    empty_images: images without objects.
    """
    extents, found = image_extents(content), instances(content)
    read = [
        annotation
        for annotation in content["annotations"]
        if not annotation.get("ignore") and is_visible(annotation, *extents[annotation["image_id"]])
    ]
    return {
        "crowd": sum(annotation["iscrowd"] for annotation in content["annotations"]),
        "cut": sum(is_cut(annotation, *extents[annotation["image_id"]]) for annotation in found),
        "invisible": sum(
            not is_visible(annotation, *extents[annotation["image_id"]])
            for annotation in content["annotations"]
        ),
        "without_mask": sum(not mask_of(annotation) for annotation in read),
        "run_lengths": sum(
            isinstance(annotation.get("segmentation"), dict) for annotation in found
        ),
        "empty_images": len(extents.keys() - {annotation["image_id"] for annotation in found}),
    }


def is_cut(annotation: dict[str, Any], image_width: float, image_height: float) -> bool:
    """True if a pixel or more of an annotation's box is outside the image."""
    x, y, width, height = annotation["bbox"]
    return min(x, y, image_width - x - width, image_height - y - height) <= -1


def image_sizes(content: dict[str, Any]) -> dict[str, list[float]]:
    """Smallest, median and largest width, height and aspect (width / height) of the images."""
    width, height = np.array(list(image_extents(content).values())).T
    return {
        name: [float(value) for value in (values.min(), np.median(values), values.max())]
        for name, values in (("width", width), ("height", height), ("aspect", width / height))
    }
