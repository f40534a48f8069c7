"""A folder of each format becomes a track that `icd check` accepts, with the same objects."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icd.__main__ import main
from icd.data.annotations import read_annotations
from icd.experiments.track import Track, load_track
from icd.experiments.yaml_files import read_yaml
from tests.new_track import folders
from tests.new_track.folders import CLASSES, IMAGES, boxes

SPLITS = {"train": "train", "tune": "val", "test": "test"}  # and the parts that they are made of


def hugging_face(root: Path, as_corners: bool = False, form: str = "saved") -> Path:
    """A data set as the library saves it, or as parquet files."""
    datasets = pytest.importorskip("datasets")
    objects = {
        "bbox": [[datasets.Value("float32")]],
        "category": [datasets.ClassLabel(names=CLASSES)],
    }
    features = datasets.Features({"image": datasets.Image(), "objects": objects})
    splits = {
        {"val": "validation"}.get(part, part): datasets.Dataset.from_list(
            folders.rows(numbers, root.parent / "pictures", as_corners), features=features
        )
        for part, numbers in IMAGES.items()
    }
    if form == "saved":
        datasets.DatasetDict(splits).save_to_disk(str(root))
    else:
        for name, split in splits.items():
            split.to_parquet(root / f"data/{name}-00000-of-00001.parquet")
    return root


FORMATS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "coco": (folders.coco, "COCO JSON"),
    "yolo": (folders.yolo, "YOLO text files"),
    "voc": (folders.voc, "PASCAL VOC XML"),
    "saved": (hugging_face, "Hugging Face data set"),
    "parquet": (lambda root: hugging_face(root, form="parquet"), "Hugging Face data set"),
    "corners": (lambda root: hugging_face(root, as_corners=True), "Hugging Face data set"),
}


def image_folder(root: Path) -> Path:
    """Folders of images with metadata.jsonl, whose classes have no names."""
    pytest.importorskip("datasets")
    for part, numbers in IMAGES.items():
        rows = folders.rows(numbers, root / part)
        lines = [
            json.dumps(row | {"image": None, "file_name": Path(row["image"]).name}) for row in rows
        ]
        (root / part / "metadata.jsonl").write_text("\n".join(lines))
    return root


def objects_of(track: Track, split: str) -> list[tuple[str, list[float]]]:
    """Class and box of each object of a split."""
    content = read_annotations(track.annotations(split))
    names = {category["id"]: category["name"] for category in content["categories"]}
    return sorted((names[one["category_id"]], one["bbox"]) for one in content["annotations"])


@pytest.mark.parametrize("form", FORMATS)
def test_a_folder_becomes_a_track_that_the_check_accepts(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write, words = FORMATS[form]
    folder = write(tmp_path / "Pets")
    assert main(["new-track", str(folder)]) == 0
    report = capsys.readouterr().out
    assert report.startswith(f"{folder}: {words}\n  train: 6 images, 8 objects in 2 classes")
    assert report.endswith("written: pets.yaml\nnext: python -m icd check pets.yaml\n")
    assert main(["check", "pets.yaml"]) == 0
    survey = json.loads(Path("results/pets/data.json").read_text())
    assert sorted(survey["classes"]) == CLASSES
    for split, part in SPLITS.items():
        assert survey["splits"][split]["images"] == len(IMAGES[part])
        expected = sorted(
            (CLASSES[label], shape) for number in IMAGES[part] for label, *shape in boxes(number)
        )
        found = objects_of(load_track("pets.yaml"), split)
        assert [name for name, _ in found] == [name for name, _ in expected]
        for (_, box), (_, shape) in zip(found, expected, strict=True):
            assert box == pytest.approx(shape, abs=0.01)
    assert ("nothing was converted" in report) == (form == "coco")


def test_every_derived_value_has_a_reason(tmp_path: Path) -> None:
    folder = folders.coco(tmp_path / "pets")
    main(["new-track", str(folder)])
    lines = Path("pets.yaml").read_text().splitlines()
    values = ["scale", "train_short_sides", "flips", "retinanet", "unit", "batch_size", "ramp"]
    values += ["query_cap", "scale_offset", "warmup", "seconds_per_iteration"]
    for key in values:
        (place,) = (i for i, line in enumerate(lines) if line.strip().startswith(f"{key}:"))
        assert "#" in lines[place] or "#" in lines[place - 1], lines[place]
    assert max(map(len, lines[5:])) < 110


def test_polygons_become_masks(tmp_path: Path) -> None:
    folder = folders.yolo(tmp_path / "pets", masks=True)
    assert main(["new-track", str(folder)]) == 0
    content = read_annotations(load_track("pets.yaml").annotations("train"))
    (box, *_), (annotation, *_) = boxes(0), content["annotations"]
    assert annotation["segmentation"][0] == pytest.approx(folders.polygon(box), abs=0.01)
    assert annotation["area"] == pytest.approx(box[3] * box[4] / 2, rel=1e-3)
    assert "mask-rcnn" in load_track("pets.yaml").content.detectors
    assert main(["check", "pets.yaml"]) == 0


def test_without_masks_detectors_of_masks_are_left_out(tmp_path: Path) -> None:
    main(["new-track", str(folders.yolo(tmp_path / "pets"))])
    assert not {"mask-rcnn", "solov2", "condinst"} & {*load_track("pets.yaml").content.detectors}


def test_converted_files_name_images_through_a_link(tmp_path: Path) -> None:
    """So the names of runs do not depend on where the user's folder lies."""
    folder = folders.yolo(tmp_path / "pets")
    main(["new-track", str(folder)])
    content: dict[str, Any] = read_yaml(Path("pets.yaml"), "track")
    assert content["data"]["root"] == "data/pets"
    assert content["data"]["splits"]["train"] == {"annotations": "train.json", "images": "images"}
    assert Path("data/pets/images").resolve() == folder
    assert Path("data/pets/conversion.txt").read_text().startswith(f"{folder}: YOLO")


def without_images(root: Path) -> None:
    """Delete all images of a data set."""
    for file in root.rglob("*.jpg"):
        file.unlink()


# What a user writes wrong, the format, and the words of the error.
MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda root: root.mkdir(), "holds no annotations; expected a COCO JSON file"),
    "no folder": (lambda root: None, "does not exist; expected a folder with images"),
    "no names": (
        lambda root: (folders.yolo(root) / "data.yaml").rename(root / "data.bak"),
        "has label files, but no names of classes",
    ),
    "unknown class": (
        lambda root: (folders.yolo(root) / "labels/train/0.txt").write_text("2 .5 .5 .2 .2\n"),
        "line 1: has the class 2; expected a number of one of the 2 classes",
    ),
    "five numbers": (
        lambda root: (folders.yolo(root) / "labels/train/0.txt").write_text("1 .5 .5 .2 .2 .9\n"),
        "line 1: has 5 numbers; expected a class, then",
    ),
    "no images": (
        lambda root: without_images(folders.coco(root)),
        "images[0].file_name: 9.jpg is nowhere in",
    ),
    "broken XML": (
        lambda root: (folders.voc(root) / "Annotations/0.xml").write_text("<annotation>"),
        "0.xml: is not valid XML",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_in_one_line_and_leaves_nothing(
    tmp_path: Path, mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write, words = MISTAKES[mistake]
    write(tmp_path / "pets")
    assert main(["new-track", str(tmp_path / "pets")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not [*Path().rglob("*")] or [*Path().rglob("*")] == [Path("data")]


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folders.yolo(tmp_path / "pets")
    main(["new-track", str(folder)])
    before = {file: file.read_bytes() for file in Path().rglob("*.*") if file.is_file()}
    assert main(["new-track", str(folder)]) == 2
    assert "pets.yaml: exists; expected another --output" in capsys.readouterr().err
    Path("pets.yaml").rename("kept.yaml")
    assert main(["new-track", str(folder)]) == 2
    assert "data/pets: holds data that were converted before" in capsys.readouterr().err
    Path("kept.yaml").rename("pets.yaml")
    assert {file: file.read_bytes() for file in before} == before


def test_a_name_of_the_project_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folders.coco(tmp_path / "coco")
    assert main(["new-track", str(folder)]) == 2
    assert "--name: 'coco' is a track of the project" in capsys.readouterr().err
    assert main(["new-track", str(folder), "--name", "my-coco"]) == 0


def test_without_the_library_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets/dataset_dict.json").write_text('{"splits": ["train"]}')
    assert main(["new-track", str(tmp_path / "pets")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("by: python -m pip install 'icd-bench[huggingface]'")


def test_an_image_folder_of_the_library_is_read(tmp_path: Path) -> None:
    assert main(["new-track", str(image_folder(tmp_path / "pets"))]) == 0
    found = objects_of(load_track("pets.yaml"), "train")
    assert found == sorted(
        (f"class {label}", [float(value) for value in shape])
        for number in IMAGES["train"]
        for label, *shape in boxes(number)
    )
