"""Other layouts of the same formats, as tools write them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from icd.data.annotations import read_annotations
from icd.experiments.track import load_track
from icd.new_track.new import write_track
from tests.new_track import folders
from tests.new_track.folders import CLASSES, IMAGES, boxes


def count(split: str) -> tuple[int, int]:
    """Images and objects of a split of the track pets."""
    content = read_annotations(load_track("pets.yaml").annotations(split))
    return len(content["images"]), len(content["annotations"])


def numbers(part: str) -> tuple[int, int]:
    return len(IMAGES[part]), sum(len(boxes(number)) for number in IMAGES[part])


def test_roboflow_s_yolo(tmp_path: Path) -> None:
    """Folders train/images and train/labels, which data.yaml looks for one level too high."""
    folder, source = tmp_path / "pets", folders.yolo(tmp_path / "source")
    for part, name in {"train": "train", "val": "valid", "test": "test"}.items():
        for kind in ("images", "labels"):
            shutil.copytree(source / kind / part, folder / name / kind)
    lines = ["train: ../train/images", "val: ../valid/images", "test: ../test/images"]
    (folder / "data.yaml").write_text("\n".join([*lines, "nc: 2", f"names: {CLASSES}"]))
    write_track(folder)
    for split, part in {"train": "train", "tune": "val", "test": "test"}.items():
        assert count(split) == numbers(part)


def test_darknet_s_labels_beside_the_images(tmp_path: Path) -> None:
    folder, source = tmp_path / "pets", folders.yolo(tmp_path / "source")
    folder.mkdir()
    for file in [*source.rglob("*.jpg"), *source.rglob("*.txt")]:
        shutil.copy(file, folder / file.name)
    (folder / "classes.txt").write_text("\n".join(CLASSES))
    assert "there is only one split (pets)" in write_track(folder)
    together = [count(split) for split in ("train", "tune", "test")]
    assert tuple(map(sum, zip(*together, strict=True))) == (12, 16)


def test_a_list_of_images(tmp_path: Path) -> None:
    folder = folders.yolo(tmp_path / "pets")
    listed = [f"./images/train/{number}.jpg\n" for number in (0, 1, 3)]
    (folder / "some.txt").write_text("".join(listed))
    text = (folder / "data.yaml").read_text().replace("images/train", "some.txt")
    (folder / "data.yaml").write_text(text)
    write_track(folder)
    assert count("train") == (3, 6)


def test_xml_beside_the_images(tmp_path: Path) -> None:
    """labelImg's; folders are the splits, and pixels count from 0."""
    folder, source = tmp_path / "pets", folders.voc(tmp_path / "source")
    for part, images in IMAGES.items():
        (folder / part).mkdir(parents=True)
        for number in images:
            shutil.copy(source / f"JPEGImages/{number}.jpg", folder / part)
            text = (source / f"Annotations/{number}.xml").read_text()
            text = re.sub(r"(?<=min>)\d+", lambda found: str(int(found[0]) - 1.5), text)
            (folder / part / f"{number}.xml").write_text(text)
    report = write_track(folder)
    assert "corners of boxes are taken to count pixels from 0: some are 0 or fractions" in report
    content = read_annotations(load_track("pets.yaml").annotations("train"))
    _, left, top, width, height = boxes(0)[0]
    expected = [left - 0.5, top - 0.5, width + 0.5, height + 0.5]
    assert content["annotations"][0]["bbox"] == pytest.approx(expected)
    for split, part in {"train": "train", "tune": "val", "test": "test"}.items():
        assert count(split) == numbers(part)


def test_what_voc_calls_difficult_is_a_crowd(tmp_path: Path) -> None:
    folder = folders.voc(tmp_path / "pets")
    file = folder / "Annotations/0.xml"
    file.write_text(file.read_text().replace("<bndbox>", "<difficult>1</difficult><bndbox>", 1))
    report = write_track(folder)
    assert "train: objects marked as difficult become crowds: 1" in report
    content = read_annotations(load_track("pets.yaml").annotations("train"))
    assert [one["iscrowd"] for one in content["annotations"]][:2] == [1, 0]


def test_what_cannot_be_used_is_counted(tmp_path: Path) -> None:
    folder = folders.voc(tmp_path / "pets")
    (folder / "JPEGImages/0.jpg").write_bytes(b"no image")
    (folder / "JPEGImages/1.jpg").unlink()
    shutil.copy(folder / "Annotations/3.xml", folder / "Annotations/unlisted.xml")
    file = folder / "Annotations/3.xml"
    file.write_text(re.sub(r"<xmin>\d+", "<xmin>200", file.read_text(), count=1))
    report = write_track(folder)
    assert re.search(
        r"train: images left out, because they cannot be read: 2, such as .*\(", report
    )
    assert "train: boxes left out, below a pixel or outside their image: 1" in report
    assert "annotations left out, because no list names them: " in report
    images, objects = numbers("train")
    assert count("train") == (images - 2, objects - 5)
    assert Path("data/pets/conversion.txt").read_text().splitlines()[1:] == [
        line.removeprefix("  note: ") for line in report.splitlines() if "note: " in line
    ]


@pytest.mark.parametrize("form", ["coco", "yolo", "voc"])
def test_image_folders_may_be_links(tmp_path: Path, form: str) -> None:
    folder = getattr(folders, form)(tmp_path / "pets")
    for place in sorted({image.parent for image in folder.rglob("*.jpg")}):
        elsewhere = tmp_path / f"disk/{place.name}"
        elsewhere.parent.mkdir(exist_ok=True)
        place.rename(elsewhere)
        place.symlink_to(elsewhere, target_is_directory=True)
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    write_track(folder)
    track = load_track("pets.yaml")
    for split, part in {"train": "train", "tune": "val", "test": "test"}.items():
        assert count(split) == numbers(part)
        for image in read_annotations(track.annotations(split))["images"]:
            assert (track.images(split) / image["file_name"]).is_file()
