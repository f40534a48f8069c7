"""Annotation files that the pipeline makes: where they lie, who uses them, what they identify."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from icd.__main__ import main
from icd.data.made import content_sha256
from icd.errors import InputError
from icd.experiments.annotation_files import make, make_or_verify
from icd.experiments.run import TrainedRun, read_run
from icd.experiments.track import Track, load_track
from tests.data.devkit import write_devkit
from tests.experiments.broken import COCO
from tests.experiments.track_files import OWN, changed, described, track, write

PART = {"fraction": 0.5, "seed": 1}
SUBSET = changed(OWN, "data.splits.train.subset", PART)


def voc(tmp_path: Path) -> Track:
    return load_track("voc", {"voc": str(write_devkit(tmp_path / "VOCdevkit"))})


def part(tmp_path: Path, **more: Any) -> Track:
    """A track of the user's data, of which it uses a part."""
    root = tmp_path / "my data"
    root.mkdir(exist_ok=True)
    for name in ("train", "test"):
        (root / f"{name} images").mkdir(exist_ok=True)
        (root / f"{name}.json").write_text(json.dumps(COCO))
    content = changed(SUBSET, "data.splits.train.subset", PART | more)
    return load_track(str(write(tmp_path / "part.yaml", content)))


@pytest.fixture(autouse=True)
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_part_lies_outside_of_the_users_folder(tmp_path: Path) -> None:
    found = part(tmp_path)
    assert found.made_splits == ["train"]
    before = sorted((tmp_path / "my data").rglob("*"))
    file = make(found, "train")
    assert file == found.annotations("train") == found.split_files["train"].annotations
    assert file.parts[0] == "data"
    assert file.name.startswith("train-")
    assert sorted((tmp_path / "my data").rglob("*")) == before
    assert len(json.loads(file.read_text())["images"]) == 1
    assert found.annotations("test") == Path("my data/test.json")
    assert found.images("train") == Path("my data/train images")


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A track whose training images are partly cut or missing, and should be left out."""
    root, content = tmp_path / "my data", copy.deepcopy(COCO)
    first, *_ = content["images"]
    names = ["whole.png", "cut.png", "more/missing.png"]
    content["images"] = [first | {"id": i, "file_name": name} for i, name in enumerate(names, 1)]
    content["annotations"] = [
        content["annotations"][0] | {"id": i, "image_id": i} for i in (3, 2, 1)
    ]
    for split in ("train", "test"):
        (root / f"{split} images").mkdir(parents=True)
        (root / f"{split}.json").write_text(json.dumps(content))
        for name in ("whole.png", "cut.png", "missing.png"):
            image = root / f"{split} images" / ("more/" * (name == "missing.png") + name)
            image.parent.mkdir(exist_ok=True)
            Image.new("RGB", (first["width"], first["height"])).save(image)
    folder = root / "train images"
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:-20])
    (folder / "more/missing.png").unlink()
    track = changed(OWN, "data.splits.train.skip_broken", True)
    return str(write(tmp_path / "broken.yaml", track))


def test_broken_images_are_left_out_and_reported(
    broken: str, capsys: pytest.CaptureFixture
) -> None:
    found = load_track(broken)
    file = make(found, "train")
    content = json.loads(file.read_text())
    assert [image["file_name"] for image in content["images"]] == ["whole.png"]
    assert [one["id"] for one in content["annotations"]] == [1]
    assert content["info"]["made"]["left_out"] == ["cut.png", "more/missing.png"]
    line, _ = capsys.readouterr().out.splitlines()
    assert line.startswith("2 images that cannot be read are left out: cut.png: ")
    assert line.endswith("; more/missing.png: No such file or directory")
    make_or_verify(found)

    assert main(["check", broken, "--decode-all"]) == 0
    printed = capsys.readouterr().out
    assert "cannot be read: 2 (cut.png, more/missing.png)" in printed
    survey = json.loads(Path("results/mine/data.json").read_text())["splits"]
    assert survey["train"]["left_out"] == ["cut.png", "more/missing.png"]
    assert survey["test"]["left_out"] == []


def test_an_image_that_breaks_later_names_the_file_to_delete(
    broken: str, capsys: pytest.CaptureFixture
) -> None:
    file = make(load_track(broken), "train")
    whole = Path("my data/train images/whole.png")
    content = whole.read_bytes()
    whole.write_bytes(content[:-20])
    assert main(["check", broken, "--decode-all"]) == 2
    assert "whole.png cannot be decoded" in (error := capsys.readouterr().err)
    assert f"; or delete {file}, and it is made again without the image" in error
    whole.write_bytes(content)
    test = Path("my data/test images/cut.png")
    test.write_bytes(test.read_bytes()[:-20])
    assert main(["check", broken, "--decode-all"]) == 2
    assert "or skip_broken: true for this split, which leaves it out" in capsys.readouterr().err


def test_leaving_images_out_is_part_of_a_run_and_not_doing_so_is_not() -> None:
    skipping = track(changed(OWN, "data.splits.train.skip_broken", True))
    test = track(changed(OWN, "data.splits.test.skip_broken", True))
    ids = [described(one, {}).id for one in (track(OWN), skipping, test)]
    assert ids[0] == ids[2] != ids[1]
    assert "skip_broken" not in json.dumps(described(track(OWN), {}).description)
    assert skipping.made_splits == ["train"]


def test_each_part_has_a_file_of_its_own() -> None:
    roots = [Path("a"), Path("b")]
    parts = [PART, PART | {"seed": 2}, PART | {"fraction": 0.25}]
    splits = [track(changed(SUBSET, "data.splits.train.subset", one)).splits for one in parts]
    splits.append(track(changed(SUBSET, "data.splits.train.skip_broken", True)).splits)
    files = {split["train"].annotation_file(root) for split in splits for root in roots}
    assert len(files) == 8


def test_a_part_is_part_of_a_run_and_its_hash_is_not() -> None:
    def planned(content: dict[str, Any]) -> TrainedRun:
        found: TrainedRun = described(track(content), {"method": "icd"})
        return found

    whole, half = planned(OWN), planned(SUBSET)
    other = planned(changed(SUBSET, "data.splits.train.subset.seed", 2))
    assert len({whole.id, half.id, other.id}) == 3
    assert whole.teacher
    assert half.teacher
    assert whole.teacher.id != half.teacher.id
    stated = planned(changed(SUBSET, "data.splits.train.subset.sha256", 64 * "a"))
    assert stated.id == half.id
    again = read_run(json.loads(json.dumps(half.description)), Path("run.json"))
    assert again.id == half.id
    first, second = (run.files_of("train").annotation_file(Path("root")) for run in (half, again))
    assert first == second


def test_a_split_of_the_test_is_no_part_of_a_run() -> None:
    test = changed(OWN, "data.splits.test.subset", PART)
    assert described(track(test), {}).id == described(track(OWN), {}).id


def test_missing_files_are_made_and_others_verified(tmp_path: Path) -> None:
    found = voc(tmp_path)
    make_or_verify(found)
    files = {name: found.annotations(name) for name in ("train", "test")}
    before = {name: file.stat() for name, file in files.items()}
    make_or_verify(found)
    assert {name: file.stat() for name, file in files.items()} == before
    files["test"].write_text(files["test"].read_text().replace("dog", "cat"))
    with pytest.raises(InputError, match=r"voc07_test-\w+\.json: info\.made\.sha256: is"):
        make_or_verify(found)


def test_another_list_of_images_is_noticed(tmp_path: Path) -> None:
    """Also one that is older: contents count, not times."""
    found = voc(tmp_path)
    make_or_verify(found)
    listed = tmp_path / "VOCdevkit/VOC2012/ImageSets/Main/trainval.txt"
    listed.write_text("2008_000003\n")
    with pytest.raises(InputError, match=r"VOC2012/ImageSets/Main/trainval\.txt: was another"):
        make_or_verify(found)


def test_a_hash_that_the_track_states_is_asked_for(tmp_path: Path) -> None:
    digits = content_sha256(json.loads(make(part(tmp_path), "train").read_text()))
    make_or_verify(part(tmp_path, sha256=digits))
    with pytest.raises(InputError, match=f"is {digits}; expected 000"):
        make_or_verify(part(tmp_path, sha256=64 * "0"))


def test_only_what_the_track_derives_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file is made for 'test'; .* \['train'\]"):
        make(part(tmp_path), "test")


@pytest.mark.parametrize(
    ("missing", "key"),
    [
        ("VOC2007/ImageSets/Main/trainval.txt", r"data\.splits\.train\.voc"),
        ("VOC2007/ImageSets/Main/test.txt", r"data\.splits\.test\.voc"),
    ],
)
def test_lists_of_images_are_asked_for_at_once(tmp_path: Path, missing: str, key: str) -> None:
    found = voc(tmp_path)
    found.require_files()
    (found.data_root / missing).unlink()
    with pytest.raises(InputError, match=rf"{key}: .*{missing} does not exist; expected a list"):
        found.require_files()


def test_the_source_of_a_part_is_asked_for_at_once(tmp_path: Path) -> None:
    found = part(tmp_path)
    found.require_files()
    (tmp_path / "my data/train.json").unlink()
    with pytest.raises(InputError, match=r"data\.splits\.train\.annotations: my data/train\.json"):
        found.require_files()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("subset", {"fraction": 1.0, "seed": 0}, r"subset\.fraction: is 1\.0; .* below 1"),
        ("subset", {"fraction": 0.1}, r"subset\.seed: is missing"),
        ("subset", {"fraction": 0.1, "seed": 0, "sha256": "ab"}, r"subset\.sha256: is 'ab'"),
        ("voc", ["VOC2007/trainval"], r"data\.splits\.train\.images: is 'train images'; .* \.,"),
        ("skip_broken", False, r"data\.splits\.train\.skip_broken: is False; expected true"),
        ("voc", [], r"data\.splits\.train\.voc: is \[\]; expected a list"),
        ("voc", ["trainval"], r"data\.splits\.train\.voc\.0: is 'trainval'; .* VOC2007/trainval"),
    ],
)
def test_what_a_split_says_is_checked(key: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        track(changed(OWN, f"data.splits.train.{key}", value))
