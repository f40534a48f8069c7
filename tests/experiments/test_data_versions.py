"""Which annotations a result comes from, by content and not by time."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from unittest import mock

import pytest

from icd.errors import InputError
from icd.experiments import data_versions
from icd.experiments.data_versions import (
    is_surveyed,
    measured_on,
    present_hashes,
    require_trained_on,
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
    return found


@pytest.fixture
def run(data: Track) -> Run:
    """A run that was trained on the present annotations."""
    found: Run = described(data, {})
    place(found, sha256(data.annotations("train")))
    return found


def place(run: Run, digits: str) -> None:
    """Leave what a training on annotations with this hash does."""
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "model.pth").touch()
    write_json(run.manifest, {"inputs": {"annotations": digits}})


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


def test_a_survey_of_other_annotations_or_splits_is_recognised(data: Track) -> None:
    survey, present = Path("data.json"), present_hashes(data, MEMORY)
    splits = {split: {"sha256": digits} for split, digits in present.items()}
    write_json(survey, {"splits": splits})
    assert is_surveyed(survey, data, present)
    assert not is_surveyed(survey, data, present | {"train": "another"})
    write_json(survey, {"splits": {"train": splits["train"], "test": splits["test"]}})
    assert not is_surveyed(survey, data, present), "a split was added"


def test_runs_on_other_annotations_are_refused_in_one_line(data: Track, run: Run) -> None:
    require_trained_on(data, [run], present_hashes(data, MEMORY))
    replace(data.annotations("test"))
    require_trained_on(data, [run], present_hashes(data, MEMORY))
    replace(data.annotations("train"))
    with pytest.raises(InputError, match=r"train.*json: is not .*the run .*retrain=true") as caught:
        require_trained_on(data, [run], present_hashes(data, MEMORY))
    assert run.id in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_interrupted_training_counts_and_a_manifest_alone_does_not(
    data: Track, run: Run
) -> None:
    replace(data.annotations("train"))
    shutil.rmtree(run.folder)
    require_trained_on(data, [run], present_hashes(data, MEMORY))
    known = trained_on(run)
    run.manifest.unlink()
    assert trained_on(run) is None
    write_json(run.folder / "work/inputs.json", {"annotations": known})
    assert trained_on(run) == known
    with pytest.raises(InputError, match=run.id):
        require_trained_on(data, [run], present_hashes(data, MEMORY))


def test_results_that_record_nothing_are_unknown(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    assert measured_on(file) is None
    file.write_text(json.dumps({"metrics": {}}))
    assert measured_on(file) is None
