"""The whole data set: reproducible, valid COCO, with classes that differ only in shape."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from icd.data import synthetic
from icd.data.scene import Scene
from icd.data.shapes import CLASSES
from icd.data.synthetic import GENERATOR_VERSION, SyntheticSpec, write_dataset, write_split
from icd.errors import InputError

IMAGES = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("synthetic")
    write_dataset(path, SyntheticSpec(seed=0), {"train": IMAGES, "val": 20})
    return path


@pytest.fixture(scope="module")
def coco(folder):
    return COCO(folder / f"train-{IMAGES}.json")


@pytest.fixture(scope="module")
def objects(folder, coco):
    """Annotation, image and mask of every object."""
    found = []
    for info in coco.loadImgs(coco.getImgIds()):
        image = np.asarray(Image.open(folder / f"train-{IMAGES}" / info["file_name"]))
        for annotation in coco.imgToAnns[info["id"]]:
            found.append((annotation, image, coco.annToMask(annotation).astype(bool)))
    return found


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_workers(tmp_path):
    splits = {"train": 70, "val": 3}
    for name, seed, workers in (("one", 5, 1), ("two", 5, 2), ("other", 6, 1)):
        write_dataset(tmp_path / name, SyntheticSpec(seed), splits, workers)
    one, two, other = (digests(tmp_path / name) for name in ("one", "two", "other"))
    assert len(one) == 75
    assert one == two
    assert one.keys() == other.keys()
    assert not set(one.values()) & set(other.values())


def test_no_two_images_are_the_same(folder):
    files = digests(folder)
    assert len(set(files.values())) == len(files) == IMAGES + 20 + 2


def test_an_image_does_not_depend_on_the_size_of_its_split(folder, tmp_path):
    write_split(tmp_path, "train", 4, SyntheticSpec(seed=0))
    large, small = digests(folder), digests(tmp_path)
    assert all(
        small[f"train-4/{i:06d}.png"] == large[f"train-{IMAGES}/{i:06d}.png"] for i in range(4)
    )


def test_pixels_and_annotations_are_those_of_this_version(folder):
    """If this fails, the data has changed: raise GENERATOR_VERSION and take the new digest."""
    digest = hashlib.sha256()
    for i in range(20):
        digest.update(np.asarray(Image.open(folder / "val-20" / f"{i:06d}.png")).tobytes())
    annotations = json.loads((folder / "val-20.json").read_text())["annotations"]
    digest.update(json.dumps(annotations, sort_keys=True).encode())
    assert (GENERATOR_VERSION, digest.hexdigest()[:16]) == (1, "d2f503fc73167832")


def test_the_file_is_coco(folder, coco):
    content = json.loads((folder / f"train-{IMAGES}.json").read_text())
    assert content["info"]["seed"] == 0
    assert content["licenses"] == []
    assert [category["name"] for category in coco.loadCats(range(1, 9))] == list(CLASSES)
    assert len(coco.getImgIds()) == IMAGES
    assert coco.getAnnIds() == list(range(1, len(content["annotations"]) + 1))
    for image in content["images"]:
        assert Image.open(folder / f"train-{IMAGES}" / image["file_name"]).size == (128, 128)
        assert (image["width"], image["height"]) == (128, 128)


def test_boxes_areas_and_polygons_are_those_of_the_visible_mask(objects):
    for annotation, _, mask in objects:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        x, y, width, height = annotation["bbox"]
        assert annotation["area"] == mask.sum() > 0
        assert (x, x + width) == (columns[0], columns[-1] + 1)
        assert (y, y + height) == (rows[0], rows[-1] + 1)


def test_masks_of_an_image_are_disjoint(coco):
    for image in coco.getImgIds():
        masks = [coco.annToMask(annotation) for annotation in coco.imgToAnns[image]]
        assert np.sum(masks, axis=0).max() == 1


def test_sizes_classes_and_numbers_of_objects(objects):
    areas = np.array([annotation["area"] for annotation, _, _ in objects])
    shares = np.histogram(areas, [0, 32**2, 96**2, 128**2])[0] / len(areas)
    np.testing.assert_allclose(shares, [0.50, 0.45, 0.05], atol=0.05)
    assert shares[2] > 0.02
    classes = Counter(annotation["category_id"] for annotation, _, _ in objects)
    assert sorted(classes) == list(range(1, 9))
    assert min(classes.values()) > 0.7 * len(objects) / 8
    assert max(classes.values()) < 1.3 * len(objects) / 8
    counts = Counter(annotation["image_id"] for annotation, _, _ in objects)
    assert sorted(set(counts.values())) == [1, 2, 3, 4, 5, 6]
    assert len(counts) == IMAGES


def test_colour_does_not_tell_the_class(objects):
    """A classifier by mean and spread of the colour is at chance, 12.5 percent."""
    features = np.array(
        [np.concatenate([image[m].mean(axis=0), image[m].std(axis=0)]) for _, image, m in objects]
    )
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    labels = np.array([annotation["category_id"] - 1 for annotation, _, _ in objects])
    seen = np.arange(len(labels)) % 2 == 0
    means = np.array([features[seen & (labels == k)].mean(axis=0) for k in range(8)])
    distance = np.linalg.norm(features[~seen, None] - means, axis=-1)
    accuracy = (distance.argmin(axis=1) == labels[~seen]).mean()
    assert accuracy < 0.125 + 3.5 * np.sqrt(0.125 * 0.875 / (~seen).sum())


def test_an_interrupted_split_has_no_annotations(tmp_path, monkeypatch):
    write_split(tmp_path, "train", 5, SyntheticSpec(seed=0))
    write_one = synthetic.write_image

    def fail(folder, split, spec, index):
        if index == 3:
            raise OSError("disk full")
        return write_one(folder, split, spec, index)

    monkeypatch.setattr(synthetic, "write_image", fail)
    with pytest.raises(OSError, match="disk full"):
        write_split(tmp_path, "train", 5, SyntheticSpec(seed=1))
    assert [path.name for path in tmp_path.iterdir()] == ["train-5"]


def test_images_without_objects(tmp_path, monkeypatch):
    empty = Scene(np.zeros((128, 128, 3), np.uint8), (), np.zeros((0, 128, 128), bool))
    monkeypatch.setattr(synthetic, "compose", lambda *_: empty)
    write_dataset(tmp_path, SyntheticSpec(seed=0), {"bare": 2, "none": 0})
    assert COCO(tmp_path / "bare-2.json").getAnnIds(imgIds=[0, 1]) == []
    assert COCO(tmp_path / "none-0.json").getImgIds() == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", -1), ("seed", 0.5), ("image_size", 32), ("max_objects", 0), ("classes", 0)],
)
def test_a_bad_spec_is_refused(key, value):
    with pytest.raises(InputError, match=f"{key}: .* expected an integer >= "):
        SyntheticSpec(**{"seed": 0, key: value})


@pytest.mark.parametrize("split", ["", "../train", "a/b", ".hidden"])
def test_a_split_must_be_a_plain_name(split, tmp_path):
    with pytest.raises(InputError, match="plain name"):
        write_split(tmp_path, split, 1, SyntheticSpec(seed=0))


def test_torch_is_not_imported():
    code = "import sys, icd.data.synthetic; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_fewer_classes_are_the_first_ones(tmp_path):
    spec = SyntheticSpec(seed=0, classes=3)
    write_split(tmp_path, "train", 30, spec)
    content = json.loads((tmp_path / "train-30.json").read_text())
    assert spec.class_names == CLASSES[:3]
    assert [category["name"] for category in content["categories"]] == list(CLASSES[:3])
    assert {annotation["category_id"] for annotation in content["annotations"]} == {1, 2, 3}
