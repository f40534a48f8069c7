"""VOC's XML becomes the annotations that mmdet and pycocotools understand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from icd.data.annotations import read_annotations
from icd.data.voc import CLASSES, convert, image_names
from icd.errors import InputError
from tests.data.devkit import SETS, SIZE, write_devkit

TRAIN, TEST = ["VOC2007/trainval", "VOC2012/trainval"], ["VOC2007/test"]


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    return write_devkit(tmp_path / "VOCdevkit")


def coco(devkit: Path, sets: list[str]) -> Path:
    """The converted sets as a file that our reader accepts."""
    file = devkit / "converted.json"
    file.write_text(json.dumps(convert(devkit, sets)))
    read_annotations(file)
    return file


def test_images_of_both_years_are_found(devkit: Path) -> None:
    content = convert(devkit, TRAIN)
    assert [image["file_name"] for image in content["images"]] == [
        "VOC2007/JPEGImages/000005.jpg",
        "VOC2007/JPEGImages/000007.jpg",
        "VOC2012/JPEGImages/2008_000002.jpg",
    ]
    assert all((devkit / image["file_name"]).is_file() for image in content["images"])
    assert {(image["width"], image["height"]) for image in content["images"]} == {SIZE}
    assert [image["id"] for image in content["images"]] == [1, 2, 3]


def test_a_box_covers_the_pixels_that_voc_counts(devkit: Path) -> None:
    """VOC's pixels, painted one by one, against the box as COCO reads it."""
    content = convert(devkit, TRAIN)
    objects = [entry for name in TRAIN for found in SETS[name].values() for entry in found]
    assert len(objects) == len(content["annotations"])
    for (name, corners, _), entry in zip(objects, content["annotations"], strict=True):
        assert CLASSES[entry["category_id"] - 1] == name
        x, y, width, height = entry["bbox"]
        assert entry["area"] == width * height
        left, top, right, bottom = corners
        if corners != tuple(map(int, corners)):
            assert [x, y, x + width, y + height] == [left - 1, top - 1, right, bottom]
            continue
        pixels = np.zeros((SIZE[1] + 1, SIZE[0] + 1), bool)  # row and column 0 stay empty
        for row in range(int(top), int(bottom) + 1):
            for column in range(int(left), int(right) + 1):
                pixels[row, column] = True
        painted = np.zeros((SIZE[1], SIZE[0]), bool)
        painted[int(y) : int(y + height), int(x) : int(x + width)] = True
        assert np.array_equal(pixels[1:, 1:], painted)


def test_difficult_objects_are_not_learned(devkit: Path) -> None:
    """As mmdet's own data set of COCO files tells its detectors."""
    dataset = CocoDataset(
        ann_file=str(coco(devkit, TRAIN)),
        data_prefix={"img": str(devkit)},
        metainfo={"classes": CLASSES},
    )
    flags = [[one["ignore_flag"] for one in image["instances"]] for image in dataset]
    assert flags == [[0, 1], [0], [0]]


@pytest.mark.parametrize("found", [True, False])
def test_difficult_objects_are_neither_missed_nor_false(devkit: Path, found: bool) -> None:
    truth = COCO(coco(devkit, TEST))
    easy, hard = truth.dataset["annotations"]
    scores = {0.5: easy} | ({0.9: hard} if found else {})
    known = ("image_id", "category_id", "bbox")
    detections = [{key: box[key] for key in known} | {"score": s} for s, box in scores.items()]
    evaluation = COCOeval(truth, truth.loadRes(detections), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, -1]  # threshold, recall, class
    assert precision[..., CLASSES.index("dog")] == pytest.approx(1)


def test_the_order_of_classes_is_vocs(devkit: Path) -> None:
    assert list(CLASSES) == sorted(CLASSES)
    assert len(CLASSES) == 20
    ids = {entry["id"]: entry["name"] for entry in convert(devkit, TEST)["categories"]}
    assert ids == dict(enumerate(CLASSES, 1))


XML = "VOC2007/Annotations/000007.xml"
LIST = "VOC2007/ImageSets/Main/trainval.txt"
# File, what it says, what it says instead, message.
BROKEN: dict[str, tuple[str, str, str, str]] = {
    "cut": (XML, "</annotation>", "", "is not valid XML (no element found"),
    "another root": (XML, "annotation>", "note>", "note: is the outermost element"),
    "no size": (XML, "width>", "breadth>", "size.width: is missing"),
    "no width": (XML, "<width>50", "<width>0", "size.width: is '0'; expected a number of pixels"),
    "unknown class": (XML, "car", "lorry", "object[0].name: is 'lorry'; expected one of aeroplane"),
    "no class": (XML, "<name>car</name>", "", "object[0].name: is ''"),
    "no box": (XML, "bndbox>", "box>", "object[0].bndbox.xmin: is missing"),
    "text": (XML, "<xmax>50", "<xmax>left", "object[0].bndbox.xmax: is 'left'"),
    "infinite": (XML, "<xmax>50", "<xmax>inf", "object[0].bndbox.xmax: is 'inf'"),
    "turned": (XML, "<xmax>50", "<xmax>49", "object[0].bndbox: is {'xmin': 50.0"),
    "difficulty": (XML, "<difficult>0", "<difficult>2", "object[0].difficult: is '2'"),
    "empty list": (LIST, "000005\n000007", "", "names no image"),
    "list of a class": (LIST, "000007", "000007 -1", "has the line '000007 -1'"),
    "twice": (LIST, "000007", "000005", "000005 is listed a second time"),
    "missing image": (LIST, "000007", "000009", "000009.xml: cannot be read (No such file"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_read_is_named(devkit: Path, case: str) -> None:
    name, old, new, message = BROKEN[case]
    text = (devkit / name).read_text()
    assert old in text
    (devkit / name).write_text(text.replace(old, new))
    with pytest.raises(InputError) as raised:
        convert(devkit, TRAIN)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.where.startswith(str(devkit))


def test_a_list_that_is_not_there_is_named(devkit: Path) -> None:
    with pytest.raises(InputError, match=r"VOC2010/ImageSets/Main/val\.txt: cannot be read"):
        list(image_names(devkit, ["VOC2010/val"]))
