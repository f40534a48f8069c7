"""Which annotations and images a result comes from, by content and not by time."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from unittest import mock

import pytest
from PIL import Image

from icd.data.contents import CHANGED, memory_file
from icd.data.pixels import read_images
from icd.errors import InputError
from icd.experiments import data_versions
from icd.experiments.data_versions import (
    Version,
    is_of,
    is_surveyed,
    measured_elsewhere,
    measured_on,
    present_hashes,
    present_versions,
    require_trained_on,
    surveyed,
    trained_on,
)
from icd.experiments.run import Run
from icd.experiments.track import Track
from icd.files import sha256, write_json
from tests.experiments.track_files import described, track

MEMORY = Path("memory.json")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Track:
    """The mini track with annotation files of some content, in the working directory."""
    monkeypatch.chdir(tmp_path)
    found = track()
    for split in found.splits:
        write_json(found.annotations(split), {"split": split})
        found.images(split).mkdir()
        Image.new("L", (8, 8), len(split)).save(found.images(split) / "0.png")
        check(found, split)
    return found


def check(track: Track, split: str) -> None:
    """Remember the image of a split as a check does."""
    memory = memory_file(track.results / "runs", split, track.images(split))
    annotations = sha256(track.annotations(split))
    read_images(["0.png"], track.images(split), memory, annotations, renew=True)


@pytest.fixture
def run(data: Track) -> Run:
    """A run that was trained on the present annotations."""
    found: Run = described(data, {})
    place(found, present_versions(data)["train"])
    return found


def place(run: Run, version: Version) -> None:
    """Leave what a training on data of this version does."""
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "model.pth").touch()
    write_json(run.manifest, {"inputs": version._asdict()})


def replace_image(file: Path) -> None:
    """Put another image of the same size and time in place of an image."""
    stat, content = file.stat(), bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def replace(file: Path) -> None:
    """Put another, older file of the same size in place of a file."""
    file.write_text(file.read_text().replace("split", "SPLIT"))
    os.utime(file, (10, 10))


def test_hashes_are_those_of_the_present_files(data: Track) -> None:
    data.annotations("tune").unlink()
    expected = {split: sha256(data.annotations(split)) for split in {*data.splits} - {"tune"}}
    assert present_hashes(data, MEMORY) == expected


def test_an_unchanged_file_is_read_once_and_an_older_one_again(data: Track) -> None:
    before = present_hashes(data, MEMORY)
    with mock.patch.object(data_versions, "sha256", wraps=sha256) as read:
        assert present_hashes(data, MEMORY) == before
        assert not read.called
        file = data.annotations("test")
        stat = file.stat()
        replace(file)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as cp -p may leave it
        assert present_hashes(data, MEMORY) == before | {"test": sha256(file)}
        assert [call.args for call in read.call_args_list] == [(file.absolute(),)]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"x": 1}', '{"x": []}'])
def test_a_damaged_memory_only_costs_time(data: Track, text: str) -> None:
    MEMORY.write_text(text)
    assert present_hashes(data, MEMORY).keys() == data.splits.keys()


def test_a_survey_of_other_data_or_splits_is_recognised(data: Track) -> None:
    survey, present = Path("data.json"), present_versions(data, MEMORY)
    splits = {
        split: {"sha256": version.annotations, "contents_sha256": version.contents}
        for split, version in present.items()
    }
    write_json(survey, {"splits": splits})
    assert surveyed(survey) == present
    assert is_surveyed(survey, data, present)
    for other in ("another", CHANGED, None):
        version = present["train"]._replace(contents=other)
        assert not is_surveyed(survey, data, present | {"train": version})
    version = present["train"]._replace(annotations="another")
    assert not is_surveyed(survey, data, present | {"train": version})
    write_json(survey, {"splits": {"train": splits["train"], "test": splits["test"]}})
    assert not is_surveyed(survey, data, present), "a split was added"


def test_a_survey_of_an_earlier_version_is_repeated(data: Track) -> None:
    survey, present = Path("data.json"), present_versions(data, MEMORY)
    write_json(survey, {"splits": {s: {"sha256": v.annotations} for s, v in present.items()}})
    assert not is_surveyed(survey, data, present)
    unread = {split: version._replace(contents=None) for split, version in present.items()}
    assert not is_surveyed(survey, data, unread)


def test_runs_on_other_annotations_are_refused_in_one_line(data: Track, run: Run) -> None:
    require_trained_on(data, [run], present_versions(data))
    replace(data.annotations("test"))
    require_trained_on(data, [run], present_versions(data))
    replace(data.annotations("train"))
    with pytest.raises(InputError, match=r"train.*json: is not .*the run .*retrain=true") as caught:
        require_trained_on(data, [run], present_versions(data))
    assert run.id in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("interrupted", [False, True])
def test_runs_on_other_images_are_refused_once_a_check_has_read_them(
    data: Track, run: Run, interrupted: bool
) -> None:
    if interrupted:
        write_json(run.folder / "work/inputs.json", trained_on(run)._asdict())  # type: ignore[union-attr]
        run.manifest.unlink()
    for split in ("test", "train"):
        replace_image(data.images(split) / "0.png")
        assert present_versions(data)[split].contents is None
        require_trained_on(data, [run], present_versions(data))
    check(data, "test")
    require_trained_on(data, [run], present_versions(data))
    check(data, "train")
    expected = rf"train-\d+: holds other images than .* the run .*{run.id} .*retrain=true"
    with pytest.raises(InputError, match=expected) as caught:
        require_trained_on(data, [run], present_versions(data))
    assert "\n" not in str(caught.value)


def test_an_interrupted_training_counts_and_a_manifest_alone_does_not(
    data: Track, run: Run
) -> None:
    replace(data.annotations("train"))
    shutil.rmtree(run.folder)
    require_trained_on(data, [run], present_versions(data))
    known = trained_on(run)
    assert known is not None
    run.manifest.unlink()
    assert trained_on(run) is None
    write_json(run.folder / "work/inputs.json", known._asdict())
    assert trained_on(run) == known
    with pytest.raises(InputError, match=run.id):
        require_trained_on(data, [run], present_versions(data))


def test_images_may_change_without_a_reading(data: Track) -> None:
    image = data.images("test") / "0.png"
    os.utime(image, (10, 10))
    assert present_versions(data)["test"].contents == CHANGED
    check(data, "test")
    known = present_versions(data)["test"].contents
    image.chmod(0o600)
    assert present_versions(data)["test"].contents is None
    check(data, "test")
    assert present_versions(data)["test"].contents == known, "it is the same image"


@pytest.mark.parametrize(
    ("known", "present", "trusted", "same"),
    [
        (Version("a", "1"), Version("a", "1"), (), True),
        (Version("a", "1"), Version("a", "2"), (None, CHANGED), False),
        (Version("a", "1"), Version("b", "1"), (None, CHANGED), False),
        (Version("a"), Version("a", "1"), (), True),
        (Version("a", "1"), Version("a"), (None,), True),
        (Version("a", "1"), Version("a"), (), False),
        (Version("a", "1"), Version("a", CHANGED), (None,), False),
        (Version("a"), Version("a", CHANGED), (None, CHANGED), True),
        (None, Version("a", "1"), (None, CHANGED), False),
        (Version("a", "1"), None, (None, CHANGED), False),
    ],
)
def test_a_result_is_of_the_present_data(
    known: Version | None, present: Version | None, trusted: tuple[str | None, ...], same: bool
) -> None:
    assert is_of(known, present, trusted) == same


def test_results_on_other_images_are_named(data: Track, run: Run) -> None:
    present = present_versions(data)
    hashes = {
        "annotations_sha256": present["test"].annotations,
        "contents_sha256": present["test"].contents,
    }
    write_json(run.metrics(), hashes)
    assert not [*measured_elsewhere(data, [run], present)]
    replace_image(data.images("test") / "0.png")
    check(data, "test")
    (line,) = measured_elsewhere(data, [run], present_versions(data))
    assert f"1 result is of other data of the split test, such as {run.metrics()}: " in line
    write_json(run.metrics(), {"metrics": {}})
    assert not [*measured_elsewhere(data, [run], present_versions(data))], "nothing is known"


def test_results_that_record_nothing_are_unknown(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    assert measured_on(file) is None
    file.write_text(json.dumps({"metrics": {}}))
    assert measured_on(file) is None
