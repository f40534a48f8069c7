"""The splits that a folder has are used; where there is only one, they are drawn."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from icd.data.annotations import read_annotations
from icd.errors import InputError
from icd.experiments.track import Track, load_track
from icd.new_track.new import write_track
from tests.new_track import folders
from tests.new_track.folders import CLASSES, IMAGES, boxes, content, write_image

MANY = 40


def many(root: Path, **options: Any) -> Path:
    """One COCO file with many images, as tools export it."""
    file = root / "annotations/instances_default.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(content(range(MANY), **options)))
    for number in range(MANY):
        write_image(root / f"images/default/{number}.jpg", number)
    return root


def numbers(track: Track) -> dict[str, list[str]]:
    """The images of each split, by the number in their name."""
    contents = {split: read_annotations(track.annotations(split)) for split in track.splits}
    return {
        split: sorted((Path(image["file_name"]).stem for image in one["images"]), key=int)
        for split, one in contents.items()
    }


def names(part: str) -> list[str]:
    return [str(number) for number in IMAGES[part]]


def test_a_single_split_is_drawn_by_image(tmp_path: Path) -> None:
    report = write_track(many(tmp_path / "pets"))
    assert "there is only one split (annotations/instances_default.json)" in report
    track = load_track("pets.yaml")
    found = numbers(track)
    assert {split: len(images) for split, images in found.items()} == {
        "train": 28,
        "tune": 4,
        "test": 8,
    }
    together = [image for images in found.values() for image in images]
    assert sorted(map(int, together)) == [*range(MANY)], "each image once"
    for split, images in found.items():
        kept = read_annotations(track.annotations(split))["annotations"]
        assert len(kept) == sum(len(boxes(int(image))) for image in images)
        assert any(not boxes(int(image)) for image in images), "also those without objects"
    write_track(tmp_path / "pets", name="again", seed=0)
    assert numbers(load_track("again.yaml")) == found
    write_track(tmp_path / "pets", name="other", seed=1)
    assert numbers(load_track("other.yaml")) != found


def test_two_splits_are_taken_for_training_and_testing(tmp_path: Path) -> None:
    report = write_track(folders.coco(tmp_path / "pets", ("train", "val")))
    assert "there is no third split, so annotations/instances_val2017.json is for testing" in report
    assert numbers(load_track("pets.yaml")) == {"train": names("train"), "test": names("val")}


def test_a_test_split_without_labels_is_left_out(tmp_path: Path) -> None:
    folder = folders.yolo(tmp_path / "pets")
    shutil.rmtree(folder / "labels/test")
    report = write_track(folder)
    assert "test: left out, because it has no object to learn" in report
    assert numbers(load_track("pets.yaml")) == {"train": names("train"), "test": names("val")}


def test_validation_on_the_training_images_is_none(tmp_path: Path) -> None:
    """As in the small examples that YOLO comes with."""
    folder = folders.yolo(tmp_path / "pets", ("train",))
    with (folder / "data.yaml").open("a") as stream:
        stream.write("val: images/train\n")
    report = write_track(folder)
    assert "val: left out, because train has its images" in report
    found = numbers(load_track("pets.yaml"))
    assert sorted(image for images in found.values() for image in images) == names("train")
    assert found.keys() == {"train", "tune", "test"}


def test_of_two_files_about_the_same_images_the_objects_count(tmp_path: Path) -> None:
    folder = folders.coco(tmp_path / "pets")
    people = content(IMAGES["train"], names=CLASSES)
    (folder / "annotations/person_keypoints_train2017.json").write_text(json.dumps(people))
    captions = {"images": people["images"], "annotations": [{"caption": "a cat"}]}
    (folder / "annotations/captions_train2017.json").write_text(json.dumps(captions))
    report = write_track(folder)
    assert (
        "annotations/person_keypoints_train2017.json: left out, because"
        " annotations/instances_train2017.json has its images" in report
    )
    split = load_track("pets.yaml").splits["train"]
    assert split.annotations == "annotations/instances_train2017.json"


def test_parts_without_a_use_are_taken_together(tmp_path: Path) -> None:
    root = tmp_path / "pets"
    for part, own in (("monday", range(6)), ("tuesday", range(6, 12))):
        for number in own:
            write_image(root / f"{part}/{number}.jpg", number)
        (root / f"{part}.json").write_text(json.dumps(content(own)))
    report = write_track(root)
    assert "monday.json + tuesday.json: are taken together" in report
    track = load_track("pets.yaml")
    together = [image for images in numbers(track).values() for image in images]
    assert sorted(map(int, together)) == [*range(12)]
    for split in track.splits:
        for image in read_annotations(track.annotations(split))["images"]:
            assert (track.images(split) / image["file_name"]).is_file()


def test_splits_with_other_classes_get_the_same(tmp_path: Path) -> None:
    folder = folders.coco(tmp_path / "pets")
    file = folder / "annotations/instances_val2017.json"
    other = content(IMAGES["val"], names=[*reversed(CLASSES)])
    other["categories"].append({"id": 20, "name": "owl"})
    file.write_text(json.dumps(other))
    report = write_track(folder)
    assert "all get the 3 that any has, numbered anew" in report
    track = load_track("pets.yaml")
    for split, part in {"train": "train", "tune": "val"}.items():
        converted = read_annotations(track.annotations(split))
        assert [one["name"] for one in converted["categories"]] == [*CLASSES, "owl"]
        labels = [one["category_id"] - 1 for one in converted["annotations"]]
        assert labels == [label for number in IMAGES[part] for label, *_ in boxes(number)]


def test_missing_images_are_left_out(tmp_path: Path) -> None:
    folder = folders.coco(tmp_path / "pets")
    (folder / "train2017/0.jpg").unlink()
    report = write_track(folder)
    assert "instances_train2017.json: images that do not exist are left out: 1" in report
    assert load_track("pets.yaml").splits["train"].skip_broken
    (many(tmp_path / "more") / "images/default/0.jpg").unlink()
    write_track(tmp_path / "more")
    found = numbers(load_track("more.yaml"))
    assert sorted(int(image) for images in found.values() for image in images) == [*range(1, MANY)]


def test_masks_of_cvat_become_objects(tmp_path: Path) -> None:
    folder = many(tmp_path / "pets", masks=True)
    file = folder / "annotations/instances_default.json"
    exported = json.loads(file.read_text())
    for annotation in exported["annotations"]:
        annotation["iscrowd"] = 1
    file.write_text(json.dumps(exported))
    assert "as CVAT marks drawn masks; they become objects" in write_track(folder)
    kept = read_annotations(load_track("pets.yaml").annotations("train"))["annotations"]
    assert not any(annotation["iscrowd"] for annotation in kept)
    assert json.loads(file.read_text()) == exported, "the user's file stays"


@pytest.mark.parametrize("images", [0, 2])
def test_too_few_images_are_refused(tmp_path: Path, images: int) -> None:
    root = tmp_path / "pets"
    for number in range(3):
        write_image(root / f"{number}.jpg", number)
    exported = content(range(3))
    kept = [one for one in exported["annotations"] if one["image_id"] <= images]
    (root / "all.json").write_text(json.dumps(exported | {"annotations": kept}))
    words = "has 2 images with objects; expected three at least" if images else "holds no object"
    with pytest.raises(InputError, match=words):
        write_track(root)


def test_ids_that_are_numbered_anew_are_reported(tmp_path: Path) -> None:
    folder = many(tmp_path / "pets")
    file = folder / "annotations/instances_default.json"
    exported = json.loads(file.read_text())
    for annotation in exported["annotations"]:
        annotation["id"] -= 1  # as many tools count
    file.write_text(json.dumps(exported))
    report = write_track(folder)
    total = len(exported["annotations"])
    assert f"ids are 0, repeated or missing: {total} are numbered anew" in report
    assert "  classes: cat, dog\n" in report
