"""Images of a rehearsal: random ones, and some of the data set's own."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from pycocotools.coco import COCO

from icd.data.shapes import CLASSES
from icd.experiments.track import Track, load_track
from icd.rehearsal.images import OBJECTS, class_names, write_images
from tests.experiments.track_files import track
from tests.lab import Lab


@pytest.fixture
def unseen(tmp_path: Path) -> Track:
    """The track of COCO without its data."""
    return load_track("coco", data_root=tmp_path / "nowhere")


def test_random_images_have_cocos_format_sizes_and_classes(unseen: Track, tmp_path: Path) -> None:
    survey = json.loads(write_images(unseen, tmp_path, 3, random=True).read_text())
    assert len(survey["classes"]) == 80
    assert survey["splits"]["train"]["images"] == 3
    coco = COCO(str(tmp_path / "train.json"))
    sizes = [(image["width"], image["height"]) for image in coco.dataset["images"]]
    assert sizes == [(640, 480), (480, 640), (640, 480)]
    for image in coco.dataset["images"]:
        pixels = cv2.imread(str(tmp_path / "train" / image["file_name"]))
        assert pixels is not None
        assert pixels.shape == (image["height"], image["width"], 3)
        objects = coco.loadAnns(coco.getAnnIds(image["id"]))
        assert len(objects) == OBJECTS
        for one in objects:
            assert coco.annToMask(one).sum() == pytest.approx(one["area"], rel=0.1, abs=60)


def test_random_images_of_a_synthetic_track_are_like_its_own(tmp_path: Path) -> None:
    mini = track()
    write_images(mini, tmp_path, 2, random=True)
    assert class_names(mini) == list(CLASSES[:4])
    content = json.loads((tmp_path / "train.json").read_text())
    assert {(one["width"], one["height"]) for one in content["images"]} == {(96, 96)}


def test_a_sample_is_spread_over_the_data_set(shared_lab: Lab, tmp_path: Path) -> None:
    survey = json.loads(write_images(shared_lab.track, tmp_path, 4, random=False).read_text())
    whole = json.loads(shared_lab.track.annotations("train").read_text())
    sample = json.loads((tmp_path / "train.json").read_text())
    assert survey["classes"] == [category["name"] for category in whole["categories"]]
    ids = [image["id"] for image in whole["images"]]
    chosen = [image["id"] for image in sample["images"]]
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 4
    assert chosen[-1] - chosen[0] >= len(ids) / 2
    assert {one["image_id"] for one in sample["annotations"]} == {*chosen}
    assert (tmp_path / "train" / sample["images"][0]["file_name"]).is_file()


def test_a_small_data_set_is_taken_whole(shared_lab: Lab, tmp_path: Path) -> None:
    survey = json.loads(write_images(shared_lab.track, tmp_path, 10**4, random=False).read_text())
    assert survey["splits"]["train"]["images"] <= 16
