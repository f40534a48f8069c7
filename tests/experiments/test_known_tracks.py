"""A mistyped track or split is an error; those of the user's other tracks are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from icd.errors import InputError
from icd.experiments import ablation
from icd.experiments.ablation import ablation_names, read_ablation
from icd.experiments.known_tracks import files_by_track, splits_by_track
from icd.files import write_json
from tests.experiments.track_files import MINE, MINI, OWN, changed, track, write
from tests.report.small_table import CONTENT

TYPOS = {
    "only.1": {"only": ["mini", "minii"]},
    "findings.minii": {"findings": {"minii": "All is well."}},
    "rows.3.tracks.minii": changed(CONTENT, "rows.3.tracks", {"minii": {"label": "Ours"}}),
}


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for a table, in the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "ablations/table.yaml"


@pytest.mark.parametrize(("key", "change"), TYPOS.items(), ids=TYPOS)
def test_a_name_that_no_track_has_is_refused(table: Path, key: str, change: dict) -> None:
    file = write(table, CONTENT | change)
    expected = rf"table\.yaml: {key}: 'minii' is not a track; expected one of \['coco', .*'mini'"
    with pytest.raises(InputError, match=expected):
        read_ablation(file, track())


@pytest.mark.parametrize(("key", "change"), TYPOS.items(), ids=TYPOS)
@pytest.mark.parametrize("place", ["minii.yaml", "my tracks/birds.yml", "results"])
def test_a_table_may_name_other_tracks_of_the_users(
    table: Path, key: str, change: dict, place: str
) -> None:
    if place == "results":
        Path("results/minii").mkdir(parents=True)
    else:
        write(Path(place), OWN | {"name": "minii"})
    read_ablation(write(table, CONTENT | change), track())


def test_a_table_for_a_mistyped_track_alone_is_not_hidden(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablation, "FOLDER", table.parent)
    write(table, CONTENT | {"only": ["minii"]})
    with pytest.raises(InputError, match=r"only\.0: 'minii' is not a track"):
        ablation_names(track())
    write(table, CONTENT | {"only": ["coco"]})
    assert ablation_names(track()) == []
    assert ablation_names() == ["table"]


def test_a_split_that_no_track_has_is_refused(table: Path) -> None:
    file = write(table, CONTENT | {"split": "tset"})
    with pytest.raises(InputError, match=r"split: no track has a split 'tset'; expected .*'test'"):
        read_ablation(file, track())


def test_a_split_of_another_track_leaves_all_rows_out(table: Path) -> None:
    content = changed(MINE, "data.splits", {"train": 4, "test": 4, "tset": 4})
    write(Path("mine.yaml"), changed(content, "roles.student.pretrained", None))
    file = write(table, CONTENT | {"split": "tset"})
    absent = {row.absent for row in read_ablation(file, track(MINI)).rows}
    assert absent == {"the track has no split tset"}


def test_splits_are_those_of_files_and_results(table: Path) -> None:
    write_json(Path("results/old/data.json"), {"splits": {"train": {}, "val": {}}})
    write(Path("other.yaml"), {"name": "other", "title": "Not a track"})
    write(Path("birds.yaml"), OWN | {"name": "birds"})
    found = splits_by_track()
    assert found["birds"] == {"train", "test"}
    assert found["old"] == {"train", "val"}
    assert found["mini"] == {"pretrain", "train", "tune", "test"}
    assert found.keys() >= {"coco", "voc", "coco-10", "coco-quick"}
    assert "other" not in found


def test_files_are_known_by_the_names_of_their_tracks(table: Path) -> None:
    for place in ("minii.yaml", "my tracks/copy.yml"):
        write(Path(place), OWN | {"name": "minii"})
    found = files_by_track()
    assert found["minii"] == [Path("minii.yaml"), Path("my tracks/copy.yml")]
    assert [file.name for file in found["mini"]] == ["mini.yaml"]
