"""From a track file to runs: what identifies a run, and what does not."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from icd.errors import InputError
from icd.experiments.track import Track, load_track
from icd.experiments.yaml_files import ROOT, WORKFLOW
from tests.experiments.track_files import (
    MINE,
    MINI,
    OWN,
    OWN_DATA,
    changed,
    described,
    leaves,
    track,
    write,
)

TRACKS = sorted(path.stem for path in (WORKFLOW / "tracks").glob("*.yaml"))
ROOTS = {"coco": "/data/coco", "voc": "/data/VOCdevkit"}
CHANGES: tuple[dict[str, Any], ...] = (
    {"role": "teacher"},
    {},
    {"inherit": True},
    {"method": "icd"},
)
# What says where and how fast, which runs, or what they are measured on, but not what a run is.
NO_PART = ("title", "seeds", "machine", "data.splits.tune", "data.splits.test")


def ids(content: dict[str, Any], **choice: str) -> list[str]:
    """Teacher, student, student + inheriting, ICD: all with seed 0 and the parts chosen."""
    return [described(track(content), choice | change, seed=0).id for change in CHANGES]


def other(key: str, value: Any) -> Any:
    """Another value that the code can read in the same place."""
    if key.endswith(("teacher.backbone", "student.backbone")):
        return next(name for name in MINI["backbones"] if name != value)
    if key.endswith("student.detector"):
        return next(name for name in MINI["detectors"] if name != value)
    if key.endswith("split"):
        return "train"
    if key.endswith("schedule"):
        return "77x"
    if key.startswith("images.flips"):
        return "vertical" if value == "horizontal" else "horizontal"
    if key.startswith("seeds"):
        return 100 + value
    if key.endswith("out_channels"):
        return 2 * value
    if key.endswith("optimizer.type"):
        return "Adam"
    if key.endswith("levels"):
        return "all"
    if value == "student":  # the optimizer that a method's parameters follow
        return {"type": "SGD", "lr": 0.1}
    if key == "images.scale.1":  # the shortest side
        return value - 1
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return [0.5] if value == "cosine" else f"{value}2"


@pytest.mark.parametrize("name", TRACKS)
def test_shipped_tracks_are_valid(name):
    found = load_track(name, ROOTS)
    assert found.name == name
    assert described(found, {"method": "icd", "inherit": True}, found.seeds[0]).teacher


@pytest.mark.parametrize(
    ("key", "value"), [(k, v) for k, v in leaves(MINI) if not k.startswith(NO_PART) and v != {}]
)
def test_every_setting_of_a_track_is_part_of_some_run(key: str, value: Any) -> None:
    """A run with a method stands on everything but other choices, its teacher included."""
    section, name, *_ = [*key.split("."), ""]
    choice = {section[:-1]: name} if section in ("detectors", "backbones") else {}
    if name == MINI["roles"]["teacher"]["backbone"]:
        choice = {}  # the teacher's own, which the student learns from
    _, _, method = key.partition("methods.")
    choice["method"] = method.split(".")[0] or "icd"
    before, after = (
        described(track(content), choice, seed=0).id
        for content in (MINI, changed(MINI, key, other(key, value)))
    )
    assert before != after


@pytest.mark.parametrize(
    ("key", "value"), [pair for pair in leaves(MINI) if pair[0].startswith(NO_PART)]
)
def test_what_changes_no_weights_is_not_part_of_a_run(key, value):
    assert ids(changed(MINI, key, other(key, value))) == ids(MINI)


def test_the_number_of_devices_is_part_of_a_run():
    """Two GPUs halve the batch of each, which batch norm and the draws feel."""
    assert set(ids(changed(MINI, "machine.gpus", 2))).isdisjoint(ids(MINI))


def test_the_place_of_the_data_is_no_part_of_a_run():
    assert ids(changed(OWN, "data.root", "elsewhere")) == ids(OWN)
    assert set(ids(changed(OWN, "data.splits.train.images", "others"))).isdisjoint(ids(OWN))


@pytest.mark.parametrize(
    ("key", "value", "differ"),
    [
        ("roles.teacher.schedule", "9x", [True, False, True, True]),
        ("roles.teacher.recipe", {"batch_size": 2}, [True, False, True, True]),
        ("roles.student.schedule", "9x", [False, True, True, True]),
        ("methods.icd.options.warmup", 1, [False, False, False, True]),
        ("recipe.batch_size", 2, [True, True, True, True]),
    ],
)
def test_a_setting_changes_the_runs_that_it_concerns(key, value, differ):
    pairs = zip(ids(MINI), ids(changed(MINI, key, value)), strict=True)
    assert [one != two for one, two in pairs] == differ


def test_a_students_teacher_is_the_teacher_of_its_seed():
    found = track()
    for seed in (0, 1):
        student = described(found, {"method": "icd"}, seed)
        assert student.teacher.id == described(found, {"role": "teacher"}, seed).id
    assert described(found, {}, seed=0).teacher is None


def test_a_role_may_fix_its_seed():
    found = track(changed(MINI, "roles.teacher.seed", 5))
    students = [described(found, {"method": "icd"}, seed) for seed in (0, 1)]
    assert [student.seed for student in students] == [0, 1]
    assert {student.teacher.id for student in students} == {
        described(found, {"role": "teacher"}, seed=9).id
    }
    assert students[0].teacher.seed == 5


def test_a_row_may_change_detector_backbone_schedule_and_options():
    content = changed(MINI, "detectors.other", {"config": "fcos/some.py"})
    teacher = MINI["roles"]["teacher"]["backbone"]
    change = {"detector": "other", "backbone": teacher, "schedule": "1.5x", "method": "icd"}
    run = described(track(content), change | {"options": {"heads": 2}}, seed=0)
    assert (run.detector.name, run.detector.config) == ("other", "fcos/some.py")
    assert run.teacher.detector == run.detector
    assert run.backbone.stated() == {"name": teacher, **MINI["backbones"][teacher]}
    assert run.schedule.iterations == round(1.5 * MINI["recipe"]["unit"])
    options = MINI["methods"]["icd"]["options"]
    assert run.method.options == options | {"heads": 2}


def test_students_are_of_the_detector_that_the_track_says():
    """And so is their teacher, in a row of its own too."""
    for content, expected in (
        (changed(MINI, "roles.student.detector", "fcos"), "fcos"),
        (changed(MINI, "roles.student.detector", None), next(iter(MINI["detectors"]))),
    ):
        found = track(content)
        runs = [described(found, change, seed=0) for change in CHANGES]
        runs += [run.teacher for run in runs if run.teacher]
        assert {run.detector.name for run in runs} == {expected}
        named = described(found, {"detector": "atss"}, seed=0)
        assert named.detector.name == "atss"


def test_a_roles_recipe_changes_only_what_it_states():
    content = changed(MINI, "roles.teacher.recipe", {"optimizer": {"lr": 0.5}})
    recipe = described(track(content), {"role": "teacher"}, seed=0).recipe.stated()
    stated = {key: value for key, value in recipe.items() if value is not None}
    assert stated == changed(MINI["recipe"], "optimizer.lr", 0.5)


def test_a_schedule_may_have_its_own_decay():
    content = changed(MINI, "recipe.decay", {"1x": "cosine", "2x": "cosine", "4x": [0.5]})
    found = track(content)
    student, teacher = (described(found, {"role": role}, 0) for role in ("student", "teacher"))
    assert student.id == described(track(MINI), {}, 0).id  # by what it does, not how it is said
    assert teacher.recipe.decay == [0.5]
    with pytest.raises(InputError, match=r"recipe\.decay: has no '3x'; .* \['1x', '2x', '4x'\]"):
        described(found, {"schedule": "3x"}, 0)


def test_a_detector_may_change_recipe_and_options():
    own = {"config": "some.py", "recipe": {"optimizer": {"lr": 0.5, "clip": 1.0}}}
    own["methods"] = {"icd": {"options": {"warmup": 7, "query_cap": 100}}}
    content = changed(MINI, "detectors.other", own)
    change = {"detector": "other", "method": "icd", "options": {"query_cap": 50}}
    run = described(track(content), change, seed=0)
    # The track's, then the detector's, then the row's; for the recipe, the role's.
    stated = MINI["methods"]["icd"]["options"]
    assert run.method.options == stated | {"warmup": 7, "query_cap": 50}
    optimizer = run.recipe.optimizer.stated()
    assert optimizer == MINI["recipe"]["optimizer"] | {"lr": 0.5, "clip": 1.0}
    theirs = run.teacher.recipe.optimizer.stated()
    assert theirs == optimizer | MINI["roles"]["teacher"]["recipe"]["optimizer"]
    assert (run.detector.name, run.detector.config) == ("other", "some.py")
    assert (
        described(track(content), {"method": "icd"}, 0).id
        == described(track(MINI), {"method": "icd"}, 0).id
    )


@pytest.mark.parametrize(
    ("common", "student", "teacher", "fits"),
    [
        (64, None, None, True),
        (64, 32, 32, True),
        (64, 64, None, True),
        (None, 256, None, True),  # mmdet's own width
        (64, 32, None, False),
        (64, None, 32, False),
        (None, 64, None, False),
        (None, None, 64, False),
    ],
)
def test_pyramids_of_different_width_are_refused_where_features_are_compared(
    common: int | None, student: int | None, teacher: int | None, fits: bool
) -> None:
    content = changed(MINI, "detectors.retinanet.model.neck.out_channels", common)
    for name, width in (("resnet18-w8", student), ("resnet18-w16", teacher)):
        if width:
            content = changed(content, f"backbones.{name}.neck.out_channels", width)
    found = track(content)
    for change in ({}, {"role": "teacher"}, {"inherit": True}):
        described(found, change, seed=0)
    if fits:
        described(found, {"method": "icd"}, seed=0)
        return
    key = r"track\.yaml: backbones\.resnet18-w8\.neck\.out_channels: is"
    with pytest.raises(InputError, match=key) as raised:
        described(found, {"method": "icd"}, seed=0)
    width = teacher or common or 256
    assert raised.value.problem.endswith(f"teacher's resnet18-w16 has {width}")
    assert raised.value.expected.startswith(f"{width}, or one width for both in ")


@pytest.mark.parametrize(
    ("stated", "fits"),
    [
        ([64, 32, 16], True),
        ([64, 32, 20], True),  # heads divide the widest level, to which the others are filled
        ([60, 32, 16], False),
        ([{"type": "FPN", "out_channels": 64}, {"type": "DyHead", "out_channels": 32}], True),
    ],
)
def test_levels_may_differ_in_width_and_necks_may_be_several(stated: list, fits: bool) -> None:
    several = isinstance(stated[0], dict)
    key = "neck" if several else "neck.out_channels"
    found = track(changed(MINI, f"detectors.retinanet.model.{key}", stated))
    if fits:
        described(found, {"method": "icd"}, seed=0)
    else:
        with pytest.raises(InputError, match="heads: is 8, which does not divide the 60 channels"):
            described(found, {"method": "icd"}, seed=0)


def test_a_detector_may_state_the_only_backbone_that_it_works_with() -> None:
    found = track(changed(MINI, "detectors.fcos.backbone", "resnet18-w16"))
    student = described(found, {"detector": "fcos", "method": "icd"}, seed=0)
    assert student.backbone.name == student.teacher.backbone.name == "resnet18-w16"
    assert described(found, {}, seed=0).backbone.name == "resnet18-w8"
    row = {"detector": "fcos", "backbone": "resnet18-w8"}
    message = "detectors.fcos.backbone: is resnet18-w16, but a row names resnet18-w8"
    with pytest.raises(InputError, match=message):
        described(found, row, seed=0)


def test_the_width_of_an_own_teacher_is_not_guessed():
    own = changed(MINI, "roles.teacher", {"config": "their.py", "checkpoint": "their.pth"})
    content = changed(own, "backbones.resnet18-w8.neck.out_channels", 32)
    assert described(track(content), {"method": "icd"}, seed=0).teacher.checkpoint == "their.pth"


def test_the_folder_of_synthetic_data_names_its_content(tmp_path):
    def root(content: dict[str, Any]) -> str:
        return str(load_track(str(write(tmp_path / "track.yaml", content))).data_root)

    assert root(MINE).startswith("data/mine-")
    assert root(changed(MINE, "title", "another")) == root(MINE)
    assert root(changed(MINE, "data.synthetic.seed", 77)) != root(MINE)
    found = track(MINI)
    more = track(changed(MINI, "data.splits.test", 77))
    assert more.annotations("test") != found.annotations("test")
    assert more.images("test") != found.images("test")
    assert more.annotations("train") == found.annotations("train")


@pytest.mark.parametrize(
    ("root", "config", "expected"),
    [
        ("/data/coco", {}, "/data/coco"),
        ("$coco/2017", {"coco": "/data"}, "/data/2017"),
        ("${coco}2017", {"coco": "/data/"}, "/data/2017"),
        ("cash$$", {}, "cash$"),
    ],
)
def test_the_root_of_own_data_may_come_from_the_command_line(tmp_path, root, config, expected):
    content = changed(OWN, "data.root", root)
    found = load_track(str(write(tmp_path / "track.yaml", content)), config)
    assert str(found.data_root) == expected
    assert str(found.annotations("test")) == f"{expected}/test.json"
    assert str(found.images("train")) == f"{expected}/train images"


def test_a_track_needs_no_machine_section():
    assert track(changed(MINI, "machine", None)).machine.model_dump() == {
        "threads": 1,
        "gpus": 0,
        "workers": 0,
        "memory": 4000,
        "seconds_per_iteration": None,
        "checkpoint_every": 1000,
        "snapshots": 0,
        "deterministic": False,
        "evaluator": "hotcoco",
    }


def test_files_of_the_user_are_asked_for_and_made_ones_are_not(tmp_path):
    track(MINI).require_files()
    found = Track(tmp_path / "track.yaml", track(OWN).content, tmp_path)
    for name in ("train", "test"):
        with pytest.raises(InputError, match=rf"data\.splits\.{name}\.annotations"):
            found.require_files()
        found.annotations(name).touch()
        with pytest.raises(InputError, match=rf"data\.splits\.{name}\.images"):
            found.require_files()
        found.images(name).mkdir()
    found.require_files()


EXTENDED = {"extends": "mini", "name": "own", "title": "My own", "data": OWN_DATA}


def test_a_track_may_take_what_it_does_not_say_from_a_shipped_one(tmp_path):
    change = {"recipe": {"optimizer": {"lr": 0.5}}, "images": {"scale": [64, 64]}, "seeds": [7]}
    found = load_track(str(write(tmp_path / "own.yaml", EXTENDED | change)))
    whole = OWN | {"name": "own", "title": "My own", "seeds": [7]}
    whole = changed(changed(whole, "recipe.optimizer.lr", 0.5), "images.scale", [64, 64])
    whole = changed(whole, "roles.teacher.seed", 0)
    assert found.content == track(whole).content
    assert (
        described(found, {"method": "icd"}, 0).id
        == described(track(whole), {"method": "icd"}, 0).id
    )


@pytest.mark.parametrize(
    ("images", "sides"),
    [
        ({"scale": [512, 512]}, None),
        ({"scale": [512, 512], "train_short_sides": [448, 512]}, [448, 512]),
        ({"flips": []}, [640, 672, 704, 736, 768, 800]),
    ],
)
def test_sizes_in_training_are_not_those_of_another_scale(tmp_path, images, sides):
    content = EXTENDED | {"extends": "coco", "images": images}
    found = load_track(str(write(tmp_path / "own.yaml", content))).content.images
    assert found.train_short_sides == sides


def test_a_role_is_replaced_whole(tmp_path):
    """A teacher to take has no schedule, and the other teacher's seed and recipe are its own."""
    roles = {"teacher": {"config": "a.py", "checkpoint": "a.pth"}}
    found = load_track(str(write(tmp_path / "own.yaml", EXTENDED | {"roles": roles})))
    assert found.content.roles.stated() == {**roles, "student": OWN["roles"]["student"]}


def test_what_is_null_is_not_taken_over(tmp_path):
    change: dict[str, Any] = {"detectors": {"fcos": None}, "backbones": {"mobilenetv2-w025": None}}
    change["methods"] = {"pkd": None, "cwd": {}}
    found = load_track(str(write(tmp_path / "own.yaml", EXTENDED | change))).content
    assert MINI["detectors"].keys() - found.detectors.keys() == {"fcos"}
    assert MINI["backbones"].keys() - found.backbones.keys() == {"mobilenetv2-w025"}
    assert MINI["methods"].keys() - found.methods.keys() == {"pkd"}
    nothing = EXTENDED | {"detectors": dict.fromkeys(MINI["detectors"])}
    with pytest.raises(InputError, match=r"detectors: is \{\}"):
        load_track(str(write(tmp_path / "own.yaml", nothing)))


def test_a_track_may_extend_one_that_extends_another(tmp_path):
    content = EXTENDED | {"extends": "voc", "seeds": [7]}
    found = load_track(str(write(tmp_path / "own.yaml", content))).content
    theirs, coco = (load_track(name, ROOTS).content for name in ("voc", "coco"))
    assert found.detectors == theirs.detectors
    assert found.detectors.keys() < coco.detectors.keys()
    assert found.backbones == coco.backbones
    assert found.recipe == theirs.recipe != coco.recipe
    assert found.splits["train"].annotations == "train.json"
    assert not found.splits["train"].made


@pytest.mark.parametrize("name", ["coco-10", "coco-quick", "voc"])
def test_other_scales_differ_from_coco_in_what_they_say(name):
    ours, coco = (load_track(one, ROOTS).content for one in (name, "coco"))
    assert ours.methods == coco.methods
    assert ours.backbones == coco.backbones
    assert ours.detectors.items() <= coco.detectors.items()
    assert ours.recipe.decay == coco.recipe.decay
    assert ours.recipe.batch_size == coco.recipe.batch_size
    longest, shortest = ours.images.scale
    assert longest / shortest == pytest.approx(5 / 3, rel=0.001)
    assert max(ours.images.train_short_sides or []) == shortest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"extends": "maxi"},
            r"extends: 'maxi' is not a shipped track; expected one of \['coco', ",
        ),
        ({"extends": ["mini"]}, r"extends: \['mini'\] is not a shipped track"),
        ({"name": None}, r"name: is missing"),
        ({"title": None}, r"title: is missing"),
        ({"data": None}, r"data: is missing; expected either synthetic"),
        ({"recipe": {"colour": 1}}, r"recipe\.colour: unknown key"),
        ({"recipe": 5}, r"recipe: is 5"),
        ({"roles": ["student"]}, r"roles: is \['student'\]"),
        ({"detectors": {"foci": None}}, r"detectors\.foci: is null, .* expected one of .*'fcos'"),
        ({"methods": {"pkdd": None}}, r"methods\.pkdd: is null, .* expected one of .*'pkd'"),
        ({"roles": {"student": {"schedule": "1x"}}}, r"roles\.student\.backbone: is missing"),
    ],
)
def test_what_does_not_fit_the_extended_track_is_named(tmp_path, change, message):
    content = {key: value for key, value in (EXTENDED | change).items() if value is not None}
    file = write(tmp_path / "own.yaml", content)
    with pytest.raises(InputError, match=rf"own\.yaml: {message}"):
        load_track(str(file))


def test_the_example_of_the_docs_is_a_track(tmp_path):
    examples = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/data.md").read_text(), re.S)
    (example,) = (text for text in examples if text.startswith("extends:"))
    found = load_track(str(write(tmp_path / "birds.yaml", yaml.safe_load(example))))
    assert str(found.annotations("train")) == "/data/garden/train.json"
    run = described(found, {"method": "icd"}, found.seeds[0])
    assert run.backbone.name == "resnet18"
    assert run.schedule.iterations == 5000


def test_the_docs_show_coco_in_float32(tmp_path):
    """The same track but for its arithmetic; with runs of its own."""
    examples = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/gpu.md").read_text(), re.S)
    (example,) = (text for text in examples if "name: coco-float32" in text)
    found = load_track(str(write(tmp_path / "own.yaml", yaml.safe_load(example))), {"coco": "x"})
    shipped = load_track("coco", {"coco": "x"}).content.model_dump()
    content = found.content.model_dump()
    assert {key for key in content if content[key] != shipped[key]} == {"name", "title", "recipe"}
    differing = {k: v for k, v in content["recipe"].items() if v != shipped["recipe"][k]}
    assert differing == {"precision": "float32", "tf32": False}


def test_a_student_starts_from_a_training_on_other_images():
    found = track()
    run = described(found, {"method": "icd", "detector": "fcos", "schedule": "3x"}, seed=2)
    start = run.pretrained
    assert (start.split, run.split) == ("pretrain", "train")
    assert start.schedule.name == MINI["roles"]["student"]["pretrained"]["schedule"]
    for key in ("detector", "backbone", "generated", "files"):
        assert getattr(start, key) == getattr(run, key)
    assert (start.pretrained, start.teacher, start.method) == (None, None, None)
    assert described(found, {"detector": "fcos"}, seed=1).pretrained.id == start.id, "for all seeds"
    own = [described(found, {"detector": "fcos", "pretrained": "own"}, seed) for seed in (0, 1)]
    assert own[0].pretrained.id == start.id, "the one for all seeds has seed 0"
    assert own[1].pretrained.id != start.id
    assert own[1].pretrained.description == start.description | {"seed": 1}
    assert described(found, {"detector": "fcos", "role": "teacher"}, seed=0).pretrained is None
    assert [source.id for source in run.sources] == [start.id, run.teacher.id]


def test_pretraining_needs_its_split():
    content = changed(MINI, "roles.student.pretrained.split", "more")
    with pytest.raises(InputError, match=r"roles\.student\.pretrained\.split: there is no 'more'"):
        described(track(content), {}, seed=0)


def test_a_split_may_have_any_plain_name():
    """Also that of an attribute of the model."""
    found = track(changed(changed(MINI, "data.splits.copy", 5), "data.splits.names", 3))
    assert found.annotations("copy").name == "copy-5.json"
    assert found.annotations("names").name == "names-3.json"


def test_an_optimizer_of_another_type_replaces_the_whole(tmp_path):
    sgd = {"type": "SGD", "lr": 0.1}
    change = EXTENDED | {"recipe": {"optimizer": sgd}}
    found = load_track(str(write(tmp_path / "own.yaml", change)))
    assert found.content.recipe.optimizer.stated() == sgd
    assert found.content.recipe.ramp == MINI["recipe"]["ramp"]
    content = changed(MINI, "detectors.fcos.recipe", {"optimizer": sgd})
    recipe = described(track(content), {"detector": "fcos"}).recipe
    assert recipe.optimizer.stated() == sgd
