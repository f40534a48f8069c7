"""Runs that are compared start from the same weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icd.errors import InputError
from icd.experiments.sources import known_inputs, require_same_weights, sharing
from icd.experiments.track import load_track

TRACK = load_track("mini")
CHANGES = {"student": {}, "icd": {"method": "icd"}, "fcos": {"method": "icd", "detector": "fcos"}}
RUNS = {name: TRACK.describe(change, 0) for name, change in CHANGES.items()}


def provenance(folder: Path, **inputs: dict[str, str]) -> Path:
    """Manifests of some of the runs."""
    for name, hashes in inputs.items():
        content = {"description": RUNS[name].description, "inputs": hashes}
        (folder / f"{RUNS[name].id}.json").write_text(json.dumps(content))
    return folder


def test_runs_of_one_source_may_differ_in_all_but_its_weights(tmp_path: Path) -> None:
    found = known_inputs(
        provenance(
            tmp_path,
            student={"annotations": "1", "pretrained": "a"},
            icd={"annotations": "2", "pretrained": "a", "teacher": "b"},
            fcos={"annotations": "3", "pretrained": "c", "teacher": "d"},  # its sources are others
        )
    )
    assert {name: run.id for name, (run, _) in found.items()} == {
        run.id: run.id for run in RUNS.values()
    }
    require_same_weights(found)


@pytest.mark.parametrize(
    ("hashes", "problem"),
    [
        ({"pretrained": "z" * 64, "teacher": "b"}, "zzzzzzzzzzzz..."),
        ({"teacher": "b"}, "not stated"),
    ],
)
def test_other_weights_of_the_same_name_are_refused(
    tmp_path: Path, hashes: dict[str, str], problem: str
) -> None:
    found = known_inputs(provenance(tmp_path, student={"pretrained": "a"}, icd=hashes))
    source = RUNS["icd"].sources_by_role["pretrained"]
    with pytest.raises(InputError) as error:
        require_same_weights(found)
    for part in (problem, source.id, RUNS["icd"].id, "inputs.pretrained", "reuse=true"):
        assert part in str(error.value)


def test_only_the_runs_that_are_asked_for_are_compared(tmp_path: Path) -> None:
    folder = provenance(tmp_path, student={"pretrained": "a"}, icd={"pretrained": "b"})
    require_same_weights(known_inputs(folder, [RUNS["icd"].id, "not there"]))
    assert known_inputs(folder, []) == {}


def test_what_is_compared_with_a_run_shares_its_teacher_or_pre_training(tmp_path: Path) -> None:
    stated = {"pretrained": "a", "teacher": "b"}
    folder = provenance(tmp_path, student={"pretrained": "a"}, icd=stated, fcos=stated)
    found = known_inputs(folder)
    for name, others in {"student": {"student", "icd"}, "fcos": {"fcos"}}.items():
        assert set(sharing(RUNS[name], found)) == {RUNS[other].id for other in others}
    teacher = TRACK.describe({"role": "teacher"}, 0)
    assert sharing(teacher, found) == {}


def test_a_new_run_is_not_refused_for_runs_from_before_hashes_were_stated(tmp_path: Path) -> None:
    found = known_inputs(provenance(tmp_path, student={}, icd={"teacher": "b"}))
    assert set(sharing(RUNS["icd"], found)) == {RUNS["icd"].id}
