"""Options of methods: the package's own and those of a track's own classes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from icd.errors import InputError
from icd.experiments.options import Method, shipped_methods
from icd.experiments.run import TrainedRun
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
    for method, entry in content["methods"].items():  # the others may need one for an adapter
        assert "optimizer" in entry or not shipped_methods()[method].learns


@pytest.mark.parametrize(
    ("name", "detector", "without_coarsest"),
    [
        ("coco", "retinanet", {"cwd", "pkd"}),
        ("coco", "faster-rcnn", {"cwd", "pkd", "mgd", "fgd"}),
        ("coco", "mask-rcnn", {"cwd", "pkd", "mgd", "fgd"}),
        ("mini", "fcos", {"cwd", "pkd"}),
        ("mini", "faster-rcnn", {"cwd", "pkd", "mgd", "fgd"}),
        ("mini", "mask-rcnn", {"cwd", "pkd", "mgd", "fgd"}),
    ],
)
def test_methods_distil_the_levels_that_their_authors_do(
    name: str, detector: str, without_coarsest: set[str]
) -> None:
    found = load_track(name, data_root=Path("nowhere"))
    for method, signature in shipped_methods().items():
        run = described(found, {"detector": detector, "method": method}, seed=0)
        assert run.method
        levels = {"levels": signature.options.model_fields["levels"].default} | run.method.options
        expected = "all_but_coarsest" if method in without_coarsest else "all"
        assert levels["levels"] == expected


@pytest.mark.parametrize("name", shipped_methods())
def test_a_row_may_choose_the_levels_of_any_method(name: str) -> None:
    def run(**options: object) -> TrainedRun:
        return described(track(MINI), {"method": name, "options": options}, seed=0)

    assert run(levels=[8, 32]).description["method"]["options"]["levels"] == [8, 32]
    assert run(levels=[8, 32]).id != run().id
    default = shipped_methods()[name].options.model_fields["levels"].default
    assert run(levels=default).id == run().id


def test_levels_of_a_method_of_your_own_are_checked(tmp_path: Path) -> None:
    file = own(tmp_path, **{"class": "json.Mine", "options": {"levels": "none", "other": 1}})
    expected = r"methods\.mine\.options\.levels: is 'none'; .*all or all_but_coarsest.*strides"
    with pytest.raises(InputError, match=expected):
        load_track(str(file))


def test_a_method_may_change_the_recipe_of_its_students() -> None:
    content = changed(MINI, "methods.pkd.recipe", {"optimizer": {"clip_value": 0.5}, "ramp": 7})
    content = changed(content, "roles.student.recipe", {"ramp": 6, "decay": [0.5]})
    found = track(content)
    plain, pkd, cwd = (
        described(found, change, seed=0) for change in ({}, {"method": "pkd"}, {"method": "cwd"})
    )
    assert pkd.recipe.optimizer.stated() == plain.recipe.optimizer.stated() | {"clip_value": 0.5}
    assert (pkd.recipe.ramp, plain.recipe.ramp) == (7, 6)
    assert pkd.recipe.decay == [0.5]
    assert cwd.recipe == plain.recipe
    assert pkd.teacher.recipe.ramp == MINI["recipe"]["ramp"]
    for source in (pkd.teacher, pkd.pretrained):
        assert source.recipe.optimizer.clip_value is None
    assert "recipe" not in pkd.description["method"]


def test_runs_of_coco_clip_as_the_authors_of_their_methods_do() -> None:
    """Detectron2's default clips elements at 1; mmdet's configs of CWD, MGD and FGD the norm."""
    found = load_track("coco", data_root=Path("nowhere"))
    for method in ("none", *shipped_methods()):
        optimizer = described(found, {"method": method}, seed=0).recipe.optimizer
        expected = {"icd": (None, 1.0)} | dict.fromkeys(("cwd", "mgd", "fgd"), (35.0, None))
        assert (optimizer.clip, optimizer.clip_value) == expected.get(method, (None, None))


def test_the_cap_of_queries_is_the_published_one_for_every_detector() -> None:
    found = load_track("coco", data_root=Path("nowhere"))
    default = shipped_methods()["icd"].options.model_fields["query_cap"].default
    for name in found.content.detectors:
        options = described(found, {"method": "icd", "detector": name}, seed=0).method.options
        expected = 100 if name in ("faster-rcnn", "mask-rcnn") else 300
        assert options.get("query_cap", default) == expected


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
    assert teacher_of(MINI, detector="fcos") == ("fcos", "resnet18-w16", "4x")
    role = changed(MINI, "roles.teacher.detector", "atss")
    assert teacher_of(role, detector="fcos") == ("atss", "resnet18-w16", "4x")
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
