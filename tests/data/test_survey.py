"""Counts of a data set, and the priors computed from it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import pytest
from PIL import Image

from icd.data import SplitFiles
from icd.data.contents import contents_sha256
from icd.data.instances import instances
from icd.data.reading import Reading, resized
from icd.data.survey import count_instances, count_oddities, relative_sizes, write_survey
from icd.errors import InputError

# Images of 100 x 50 and 40 x 40 px; categories whose ids have gaps and no order.
IMAGES = [(7, 100, 50), (3, 40, 40)]
CATEGORIES = [(9, "cat"), (2, "dog"), (5, "emu")]
OBJECTS = [  # image, category, bbox, area
    (7, 9, [0, 0, 10, 10], 100),
    (7, 2, [20, 10, 50, 25], 1024),
    (3, 9, [0, 0, 20, 10], 150),
    (3, 9, [30.5, 30, 20, 20], 1023.9),
    (7, 2, [0, 0, 100, 50], 9216),
]
LEFT_OUT: dict[str, dict[str, Any]] = {
    "crowd": {"iscrowd": 1},
    "ignored": {"ignore": 1},
    "no width": {"bbox": [1, 1, 0, 5]},
    "less than a pixel wide": {"bbox": [1, 1, 0.9, 5]},
    "negative height": {"bbox": [5, 5, 3, -3]},
    "right of the image": {"bbox": [100, 0, 10, 10]},
    "above the image": {"bbox": [0, -10, 10, 10]},
    "no area": {"area": 0},
}
KEPT: dict[str, dict[str, Any]] = {
    "one pixel": {"bbox": [1, 1, 1, 1]},
    "half outside": {"bbox": [-5, -5, 10, 10]},
    "no crowd": {"iscrowd": 0, "ignore": 0},
}


def coco(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """COCO content with these annotations over the defaults of the first image and category."""
    default = {"image_id": 7, "category_id": 9, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0}
    return {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": w, "height": h} for i, w, h in IMAGES
        ],
        "annotations": [{"id": i, **default, **entry} for i, entry in enumerate(objects, 1)],
        "categories": [{"id": i, "name": name} for i, name in CATEGORIES],
    }


CONTENT = coco(
    [
        {"image_id": image, "category_id": category, "bbox": bbox, "area": area}
        for image, category, bbox, area in OBJECTS
    ]
)


@pytest.mark.parametrize("change", LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_no_detector_learns_is_counted_as_ignored(change):
    content = coco([{}, change])
    assert [annotation["id"] for annotation in instances(content)] == [1]
    counts = count_instances(content)
    assert (counts["objects"], counts["ignored"], counts["by_class"]["cat"]) == (1, 1, 1)
    assert len(list(relative_sizes(content))) == 1


@pytest.mark.parametrize("change", KEPT.values(), ids=KEPT)
def test_small_and_cut_objects_are_objects(change):
    assert len(instances(coco([change]))) == 1


def test_the_choice_is_that_of_mmdet(tmp_path):
    from mmdet.datasets import CocoDataset

    content = coco([*LEFT_OUT.values(), *KEPT.values(), *CONTENT["annotations"]])
    for number, annotation in enumerate(content["annotations"], 1):
        annotation["id"] = number
    (tmp_path / "a.json").write_text(json.dumps(content))
    classes = [name for _, name in CATEGORIES]
    loaded = CocoDataset(
        ann_file=str(tmp_path / "a.json"),
        data_prefix={"img": ""},
        metainfo={"classes": classes},
        pipeline=[],
    )
    theirs = [
        (info["img_id"], instance["bbox_label"], instance["bbox"])
        for info in loaded
        for instance in info["instances"]
        if not instance["ignore_flag"]
    ]
    labels = {category: i for i, (category, _) in enumerate(CATEGORIES)}
    ours = [
        (a["image_id"], labels[a["category_id"]], [x, y, x + w, y + h])
        for a in instances(content)
        for x, y, w, h in [a["bbox"]]
    ]
    assert sorted(ours) == sorted(theirs)


def test_counts_by_class_and_size():
    assert count_instances(CONTENT) == {
        "images": 2,
        "objects": 5,
        "ignored": 0,
        "by_size": {"small": 3, "medium": 1, "large": 1},
        "by_class": {"cat": 3, "dog": 2, "emu": 0},
    }


def test_oddities_are_counted():
    clear: dict[str, Any] = {"segmentation": [[1, 1, 6, 1, 6, 6]]}
    code: dict[str, Any] = {"segmentation": {"size": [50, 100], "counts": [0, 5000]}}
    objects: list[dict[str, Any]] = [
        clear,
        code,
        code | {"iscrowd": 1},
        {"segmentation": []},
        clear | {"bbox": [-1, 1, 5, 5]},
        clear | {"bbox": [-0.9, 1, 5, 5]},
        clear | {"bbox": [95, 1, 7, 5]},
        clear | {"bbox": [100, 1, 5, 5]},
        {"ignore": 1},
        {"segmentation": [[]]},
        {"segmentation": [[1, 1, 6, 6]]},
    ]
    assert count_oddities(coco(objects)) == {
        "crowd": 1,
        "cut": 2,
        "invisible": 1,
        "without_mask": 3,
        "run_lengths": 1,
        "empty_images": 1,
        "full_images": 0,
    }


@pytest.mark.parametrize(("count", "full"), [(100, 0), (101, 1)])
def test_images_with_more_objects_than_ap_counts_are_counted(count: int, full: int) -> None:
    assert count_oddities(coco([{}] * count))["full_images"] == full


def test_sizes_are_fractions_of_the_image():
    expected = [(0, 0.1, 0.2), (1, 0.5, 0.5), (0, 0.5, 0.25), (0, 0.5, 0.5), (1, 1.0, 1.0)]
    assert list(relative_sizes(CONTENT)) == expected


def written(tmp_path: Path, content: dict[str, Any], **options: Any) -> dict[str, Any]:
    """The survey of this content as both splits, with an image of its own for each entry."""
    splits = {}
    for number, name in enumerate(("train", "test")):
        splits[name] = SplitFiles(tmp_path / f"{name}.json", tmp_path / name)
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        for i, image in enumerate(content["images"]):
            size = (image["width"], image["height"])
            Image.new("L", size, 10 * i + number).save(tmp_path / name / image["file_name"])
    return write_survey(splits, tmp_path / "data.json", **options)


def with_small_image(side: int) -> dict[str, Any]:
    """Content with a large object in a further image of this width."""
    content = coco([{}, {"image_id": 9, "category_id": 2, "bbox": [0, 0, side, 40]}])
    content["images"].append({"id": 9, "file_name": "9.png", "width": side, "height": 40})
    return content


@pytest.mark.parametrize("side", [31, 32])
def test_counts_and_priors_are_those_of_the_images_that_mmdet_trains_on(
    tmp_path: Path, side: int
) -> None:
    from mmdet.datasets import CocoDataset

    survey = written(tmp_path, with_small_image(side))
    train, test = survey["splits"]["train"], survey["splits"]["test"]
    trained = CocoDataset(
        ann_file=str(tmp_path / "train.json"),
        data_prefix={"img": ""},
        metainfo={"classes": survey["classes"]},
        filter_cfg={"filter_empty_gt": True, "min_size": 32},
        pipeline=[],
    )
    objects = sum(len(info["instances"]) for info in trained)
    assert train["objects"] == objects == (2 if side == 32 else 1)
    assert (train["images"], train["too_small"]) == (3, 2 - objects)
    assert survey["priors"]["frequency"] == [1 / objects, 1 - 1 / objects, 0]
    assert (test["objects"], test["too_small"]) == (2, 0)  # all of them are tested


def test_objects_in_images_too_small_for_training_are_said(tmp_path: Path) -> None:
    content = coco([{"image_id": 9, "bbox": [0, 0, 20, 40]}])
    content["images"] = [{"id": 9, "file_name": "9.png", "width": 20, "height": 40}]
    with pytest.raises(InputError, match=r"1 in images with a side below 32 pixels; expected at"):
        written(tmp_path, content)
    reading = Reading(smallest_side=20)
    (tmp_path / "again").mkdir()
    written(tmp_path / "again", content, reading=reading)


def test_an_image_without_width_after_resizing_is_named(tmp_path: Path) -> None:
    """As mmcv computes it, whose Resize then fails."""
    content = coco([{}])
    content["images"][0] |= {"width": 1000, "height": 40}
    for longest in (13, 12):
        scale = (longest, longest)
        assert resized(1000, 40, scale) == mmcv.rescale_size((1000, 40), scale)
        place = tmp_path / str(longest)
        place.mkdir()
        reading = Reading(train_scales=[(100, 100)], test_scale=scale)
        if longest == 13:
            written(place, content, reading=reading)
        else:
            with pytest.raises(InputError, match=r"test\.json: .* becomes 12 x 0 at images\.scale"):
                written(place, content, reading=reading)


def test_the_survey_holds_classes_counts_and_priors(tmp_path):
    splits = {
        name: SplitFiles(tmp_path / f"{name}.json", tmp_path / name)
        for name in ("train", "test", "extra")
    }
    for name in splits:
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.json").write_text(json.dumps(CONTENT))
        for image, width, height in IMAGES:
            Image.new("L", (width, height)).save(tmp_path / name / f"{image}.png")
    (tmp_path / "test.json").write_text(json.dumps(coco([{}])))
    write_survey(splits, tmp_path / "data.json")

    survey = json.loads((tmp_path / "data.json").read_text())
    assert survey["classes"] == ["cat", "dog", "emu"]
    digest = hashlib.sha256((tmp_path / "train.json").read_bytes()).hexdigest()
    copies = {split: {"count": 2, "example": "7.png"} for split in ("test", "extra")}
    assert survey["smallest_side"] == 32
    files = [tmp_path / f"train/{image}.png" for image, _, _ in IMAGES]
    images = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    assert survey["splits"]["train"] == {
        "sha256": digest,
        "contents_sha256": contents_sha256(images),
        **count_instances(CONTENT),
        **count_oddities(CONTENT),
        "too_small": 0,
        "left_out": [],
        "filled": {"area": 0, "iscrowd": 0, "id": 0},
        "width": [40, 70, 100],
        "height": [40, 45, 50],
        "aspect": [1, 1.5, 2],
        "formats": {"PNG L": 2},
        "turned": 0,
        "decoded": 2,
        "copies": copies,
    }
    with Image.open(tmp_path / "samples.png") as samples:
        assert samples.format == "PNG"
    assert survey["splits"]["test"]["sha256"] != digest
    assert survey["splits"]["test"]["objects"] == 1
    sizes = {"cat": [(0.1, 0.2), (0.5, 0.25), (0.5, 0.5)], "dog": [(0.5, 0.5), (1.0, 1.0)]}
    priors = survey["priors"]
    assert priors["frequency"] == pytest.approx([3 / 5, 2 / 5, 0])
    for label, name in enumerate(("cat", "dog")):
        assert priors["size_mean"][label] == pytest.approx(np.mean(sizes[name], 0), abs=1e-6)
        assert priors["size_std"][label] == pytest.approx(np.std(sizes[name], 0), abs=1e-6)
