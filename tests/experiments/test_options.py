"""Options of methods: the package's own and those of a track's own classes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from icd.errors import InputError
from icd.experiments.options import Method, shipped_methods
from icd.experiments.track import load_track
from icd.experiments.yaml_files import ROOT, WORKFLOW
from tests.experiments.track_files import MINE, MINI, changed, described, track, write


def test_methods_are_found_by_their_files() -> None:
    classes = {method.path for method in shipped_methods().values()}
    assert {"icd.methods.icd.method.ICD", "icd.methods.cwd.CWD"} <= classes
    for path in classes:
        *module, name = path.split(".")
        text = ROOT.joinpath(*module).with_suffix(".py").read_text()
        assert f"class {name}(nn.Module):" in text


@pytest.mark.parametrize("name", ["mini", "coco"])
def test_every_method_of_the_package_is_in_every_track(name: str) -> None:
    content = yaml.safe_load((WORKFLOW / f"tracks/{name}.yaml").read_text())
    assert content["methods"].keys() == shipped_methods().keys()
    for method, entry in content["methods"].items():
        assert ("optimizer" in entry) is shipped_methods()[method].learns


def test_a_class_is_found_by_name_or_stated() -> None:
    assert Method(name="fgd").path == "icd.methods.fgd.FGD"
    assert Method.model_validate({"name": "mine", "class": "my.Mine"}).path == "my.Mine"
    with pytest.raises(InputError, match=r"methods: magic: is not a known method"):
        assert Method(name="magic").path


def own(tmp_path: Path, **entry: object) -> Path:
    return write(tmp_path / "track.yaml", changed(MINE, "methods.mine", entry))


def test_a_method_of_your_own_is_described_with_its_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_methods.py").write_text("raise RuntimeError('is not imported here')")
    file = own(tmp_path, **{"class": "my_methods.Mine", "options": {"anything": [1, {"a": 2}]}})
    run = described(load_track(str(file)), {"method": "mine", "options": {"weight": 3}}, seed=0)
    assert run.method.stated() == {
        "name": "mine",
        "class": "my_methods.Mine",
        "options": {"anything": [1, {"a": 2}], "weight": 3},
        "adapter": False,
    }
    assert "-mine-" in run.id
    assert "my_methods" not in sys.modules


def test_detectors_may_say_options_of_any_method(tmp_path: Path) -> None:
    content = changed(MINE, "detectors.fcos.methods", {"pkd": {"options": {"weight": 2.5}}})
    found = load_track(str(write(tmp_path / "track.yaml", content)))
    for detector, weight in (
        ("fcos", 2.5),
        ("retinanet", MINI["methods"]["pkd"]["options"]["weight"]),
    ):
        run = described(found, {"detector": detector, "method": "pkd"}, seed=0)
        assert run.method.options["weight"] == weight


# ------------------------------------------------------------------- teachers of other detectors


def teacher_of(content: dict, **change: object) -> tuple[str, str, str]:
    description = described(track(content), {"method": "icd", **change}, seed=1).description
    found = description["teacher"]
    return tuple(found[key]["name"] for key in ("detector", "backbone", "schedule"))


def test_a_teacher_is_of_the_students_detector_unless_someone_says_otherwise() -> None:
    small = "resnet18-w16"
    assert teacher_of(MINI, detector="fcos") == ("fcos", "resnet18-w32", "4x")
    role = changed(MINI, "roles.teacher.detector", "atss")
    assert teacher_of(role, detector="fcos") == ("atss", "resnet18-w32", "4x")
    row = {"detector": "fcos", "backbone": small, "schedule": "2x"}
    assert teacher_of(role, teacher=row) == ("fcos", small, "2x")
    assert teacher_of(MINI, teacher={"backbone": small}) == ("retinanet", small, "4x")


def test_a_row_of_the_teacher_is_the_teacher_that_students_have() -> None:
    found = track(changed(MINI, "roles.teacher.detector", "atss"))
    row = described(found, {"role": "teacher", "detector": "retinanet"}, seed=0)
    student = described(found, {"detector": "retinanet", "method": "icd"}, seed=0)
    assert student.teacher.id == row.id


def test_a_stated_teacher_that_is_the_tracks_changes_nothing() -> None:
    found = track(MINI)
    plain, stated = (
        described(found, {"method": "icd", **change}, seed=0).id
        for change in ({}, {"teacher": {"detector": "retinanet", "schedule": "4x"}})
    )
    assert plain == stated


def test_a_row_cannot_change_an_imported_teacher() -> None:
    given = changed(MINI, "roles.teacher", {"config": "their.py", "checkpoint": "their.pth"})
    with pytest.raises(InputError, match=r"roles\.teacher: is imported"):
        described(track(given), {"method": "icd", "teacher": {"detector": "fcos"}}, seed=0)


def test_an_unknown_detector_of_a_teacher_is_named() -> None:
    with pytest.raises(InputError, match="detectors: has no 'magic'"):
        described(track(MINI), {"method": "icd", "teacher": {"detector": "magic"}}, seed=0)
