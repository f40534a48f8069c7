"""The check of a COCO-format data set before any training, and the priors that follow from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from icd.data import SplitFiles
from icd.data.annotations import complete, mask_of, read_annotations
from icd.data.contents import contents_sha256, memory_file
from icd.data.copies import find_copies
from icd.data.images import ImagesSurvey, survey_images
from icd.data.instances import class_names, image_extents, instances, is_visible
from icd.data.made import left_out
from icd.data.priors import compute_priors
from icd.data.reading import TRAIN, Reading
from icd.data.requirements import require_classes, require_objects, require_sides
from icd.data.samples import write_samples
from icd.files import sha256, write_json

MOST_OBJECTS = 100  # per image: detectors report, and COCO's metrics count, so many detections
AS_MMDET = Reading()  # what mmdet's configs leave out


def write_survey(
    splits: Mapping[str, SplitFiles],
    output: Path,
    decode_all: bool = False,
    reading: Reading = AS_MMDET,
) -> dict[str, Any]:
    """Check all splits of a data set and write classes, hashes, counts and priors as JSON.

    Also draws images of the training split to ``samples.png`` beside ``output``. Counts and priors
    leave out what training leaves out.

    Args:
        splits: files by the name of the split; ``train`` defines classes and priors.
        output: JSON file to write.
        decode_all: decode all images, not only a sample.
        reading: what the track trains on, and the sizes to which it resizes images.

    Returns:
        The content of the JSON file.

    Raises:
        InputError: names the annotation file, the key, and the remedy.
    """
    contents = {name: read_annotations(files.annotations) for name, files in splits.items()}
    filled = {name: complete(content) for name, content in contents.items()}
    classes = class_names(contents[TRAIN])
    for name, content in contents.items():
        file = splits[name].annotations
        require_classes(content, file, classes, splits[TRAIN].annotations)
        require_objects(content, reading.used(name, content), file, reading)
        require_sides(reading.used(name, content), file, reading, name)
    counts, listed = {}, {}
    for name, content in contents.items():
        files, memory = splits[name], memory_of(output, name, splits[name].images)
        found = survey_images(content, files.annotations, files.images, decode_all, memory)
        used = reading.used(name, content)
        counts[name] = survey_split(content, used, filled[name], files, found)
        names = (image["file_name"] for image in content["images"])
        listed[name] = [(file, found.digests[file]) for file in names]
    for name, copies in find_copies(listed).items():
        counts[name]["copies"] = copies
    priors = compute_priors(relative_sizes(reading.used(TRAIN, contents[TRAIN])), len(classes))
    survey = {
        "classes": classes,
        "smallest_side": reading.smallest_side,
        "splits": counts,
        "priors": asdict(priors),
    }
    write_samples(contents[TRAIN], splits[TRAIN].images, output.with_name("samples.png"))
    write_json(output, survey)
    return survey


def memory_of(survey: Path, split: str, images: Path) -> Path:
    """The file that remembers the images of a split of the data set with this survey."""
    return memory_file(survey.with_name("runs"), split, images)


def survey_split(
    content: dict[str, Any],
    used: dict[str, Any],
    filled: dict[str, int],
    files: SplitFiles,
    images: ImagesSurvey,
) -> dict[str, Any]:
    """Hashes, counts and sizes of one split.

    Args:
        content: its annotations as :func:`complete` left them.
        used: those of them that count, see :meth:`Reading.used`.
        filled: what :func:`complete` filled in.
        files: its files.
        images: what its images are.
    """
    number = len(content["images"])
    return {
        "sha256": sha256(files.annotations),
        "contents_sha256": contents_sha256(images.digests),
        **count_instances(used),
        "images": number,
        "too_small": number - len(used["images"]),
        **count_oddities(used),
        "left_out": left_out(content) or [],
        "filled": filled,
        **image_sizes(content),
        **images.summary,
    }


def relative_sizes(content: dict[str, Any]) -> Iterator[tuple[int, float, float]]:
    """(class index, w / W, h / H) of every instance of a split."""
    labels = {category["id"]: i for i, category in enumerate(content["categories"])}
    extents = image_extents(content)
    for annotation in instances(content):
        image_width, image_height = extents[annotation["image_id"]]
        _, _, width, height = annotation["bbox"]
        yield labels[annotation["category_id"]], width / image_width, height / image_height


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
    full_images: images with more than :data:`MOST_OBJECTS` objects.
    """
    extents, found = image_extents(content), instances(content)
    per_image = Counter(annotation["image_id"] for annotation in found)
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
        "empty_images": len(extents.keys() - per_image.keys()),
        "full_images": sum(number > MOST_OBJECTS for number in per_image.values()),
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
