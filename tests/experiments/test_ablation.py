"""From an ablation file to the runs that it needs."""

from __future__ import annotations

import re

import pytest
import yaml

from icd.errors import InputError
from icd.experiments.ablation import ablation_names, load_ablation, read_ablation, require_runs
from icd.experiments.change import Change
from icd.experiments.track import load_track, shipped_tracks
from icd.experiments.yaml_files import ROOT
from tests.experiments.track_files import MINE, MINI, changed, track, write

CONTENT = {
    "title": "Title",
    "question": "Question?",
    "baseline": "student",
    "base": {"detector": "retinanet", "schedule": "2x"},
    "rows": [
        {"id": "student", "label": "Student"},
        {
            "id": "icd",
            "label": "ICD",
            "change": {"method": "icd"},
            "published": {"AP": 39.9, "source": "paper"},
        },
        {"id": "long", "label": "ICD, longer", "change": {"method": "icd", "schedule": "3x"}},
    ],
}


ROOTS = {"coco": "/data/coco", "voc": "/data/VOCdevkit"}
TRACKS = {name: load_track(name, ROOTS) for name in shipped_tracks()}


@pytest.mark.parametrize(
    ("track_name", "name"), [(key, name) for key in TRACKS for name in ablation_names(TRACKS[key])]
)
def test_shipped_ablations_are_valid_on_shipped_tracks(name, track_name):
    found = load_ablation(name, TRACKS[track_name])
    assert found.name == name
    assert found.rows
    assert all(bool(row.runs) != bool(row.absent) for row in found.rows)


@pytest.mark.parametrize("name", ["coco", "coco-10", "coco-quick", "voc"])
def test_other_scales_have_the_rows_of_coco(name):
    """But for those whose detectors learn masks, which VOC lacks: these say why they are absent."""
    lacking = ("condinst", "mask-rcnn", "solov2") if name == "voc" else ()
    reasons = {f"the track has no detector {detector}" for detector in lacking}
    for table in ablation_names(TRACKS[name]):
        found = load_ablation(table, TRACKS[name])
        assert {row.absent for row in found.rows if row.absent} <= reasons
        if not found.measured:
            with pytest.raises(InputError, match=rf"{table}\.yaml: rows: .*; expected a row that"):
                require_runs(found, TRACKS[name])


@pytest.mark.parametrize(("track_name", "rows"), [("mini", 3), ("coco", 2)])
def test_the_example_of_the_docs_is_a_table(track_name, rows, tmp_path):
    text = (ROOT / "docs/experiments.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    content = yaml.safe_load(example)
    track = load_track(track_name, {"coco": "/data/coco"})
    found = read_ablation(write(tmp_path / "temperature.yaml", content), track)
    assert sum(bool(row.runs) for row in found.rows) == rows
    keys = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text.split("## Add a table")[0], re.M)
    assert set(re.findall(r"`(\w+)`", " ".join(keys))) == set(Change.model_fields)


def test_the_main_table_has_the_rows_of_the_paper():
    rows = load_ablation("main", track()).rows
    assert [row.id for row in rows] == [
        "teacher",
        "student",
        "student_inherit",
        "icd",
        "icd_inherit",
    ]
    assert {len(row.runs) for row in rows} == {len(MINI["seeds"])} == {3}


def test_a_table_may_be_one_of_some_tracks_alone(tmp_path):
    file = write(tmp_path / "table.yaml", CONTENT | {"only": ["mini"]})
    assert read_ablation(file, track()).runs
    with pytest.raises(
        InputError, match=r"table.yaml: only: leaves out the track own; expected \['mini'\]"
    ):
        read_ablation(file, track(MINI | {"name": "own"}))
    assert set(ablation_names()) == set(ablation_names(TRACKS["mini"]))
    only_mini = {"pretraining", "scale", "tuning"}
    assert set(ablation_names()) - set(ablation_names(TRACKS["coco"])) == only_mini


@pytest.mark.parametrize(
    ("splits", "expected"), [(("train", "tune", "test"), "tune"), (("train", "test"), "test")]
)
def test_a_table_may_be_measured_on_images_to_tune_by(tmp_path, splits, expected):
    content = changed(MINI, "data.splits", dict.fromkeys(splits, 10))
    content = changed(content, "roles.student.pretrained", None)
    file = write(tmp_path / "table.yaml", CONTENT | {"split": "tune"})
    assert read_ablation(file, track(content)).split == expected
    assert read_ablation(write(file, CONTENT), track(content)).split == "test"


def test_a_table_may_be_measured_on_any_split_that_nobody_learns_from(tmp_path, monkeypatch):
    """And its runs are those of the other tables."""
    monkeypatch.chdir(tmp_path)
    splits = {"pretrain": 10, "train": 10, "test": 10, "test-hard": 10}
    several = track(changed(MINI, "data.splits", splits))
    file = write(tmp_path / "table.yaml", CONTENT | {"split": "test-hard"})
    hard, other = read_ablation(file, several), read_ablation(write(file, CONTENT), several)
    assert (hard.split, other.split) == ("test-hard", "test")
    assert [run.id for run in hard.runs] == [run.id for run in other.runs]
    del splits["test-hard"]
    before = read_ablation(file, track(changed(MINI, "data.splits", splits)))
    assert [run.id for run in hard.runs] == [run.id for run in before.runs]

    hard_file = write(tmp_path / "hard.yaml", CONTENT | {"split": "test-hard"})
    write(tmp_path / "mine.yaml", MINE | {"data": several.content.data.stated()})
    assert {row.absent for row in read_ablation(hard_file, track()).rows} == {
        "the track has no split test-hard"
    }
    for split in ("train", "pretrain"):
        file = write(tmp_path / "table.yaml", CONTENT | {"split": split})
        with pytest.raises(InputError, match=rf"split: is '{split}', which runs are trained on"):
            read_ablation(file, several)


@pytest.mark.parametrize("name", ["my table", "-x", "runs", "manifests", "a.b", "é"])
def test_a_table_must_not_have_a_name_that_paths_and_rules_cannot_have(tmp_path, name):
    file = write(tmp_path / f"{name}.yaml", CONTENT)
    with pytest.raises(InputError, match=r"\.yaml: .*expected another file name"):
        read_ablation(file, track())


@pytest.mark.parametrize("name", ["all", "everything", "data", "train_distilled", "cost", "page"])
def test_a_table_must_not_be_named_like_a_rule(tmp_path, name):
    file = write(tmp_path / f"{name}.yaml", CONTENT)
    with pytest.raises(InputError, match=rf"{name}\.yaml: '{name}' is the name of a rule"):
        read_ablation(file, track())


def test_what_is_measured_are_the_runs_of_the_rows(tmp_path):
    ablation = read_ablation(write(tmp_path / "table.yaml", CONTENT), track())
    measured = {run.id for run in ablation.measured}
    assert measured == {run.id for row in ablation.rows for run in row.runs}
    sources = {source.id for run in ablation.measured for source in run.sources}
    assert {run.id for run in ablation.runs} == measured | sources


def test_rows_state_only_what_they_change(tmp_path):
    found = track(changed(MINI, "seeds", [3, 5]))
    ablation = read_ablation(write(tmp_path / "table.yaml", CONTENT), found)
    assert (ablation.name, ablation.title, ablation.question) == ("table", "Title", "Question?")
    assert (ablation.baseline, ablation.notes) == ("student", "")
    student, icd, long = ablation.rows
    changes = (
        {"schedule": "2x"},
        {"schedule": "2x", "method": "icd"},
        {"schedule": "3x", "method": "icd"},
    )
    for row, change in zip((student, icd, long), changes, strict=True):
        assert [run.id for run in row.runs] == [found.describe(change, s).id for s in (3, 5)]
    assert [row.label for row in ablation.rows] == ["Student", "ICD", "ICD, longer"]
    published = [row.published and row.published.stated() for row in ablation.rows]
    assert published == [None, {"AP": 39.9, "source": "paper"}, None]


def test_runs_are_those_of_all_rows_and_their_teachers_once(tmp_path):
    ablation = read_ablation(write(tmp_path / "table.yaml", CONTENT), track())
    ids = [run.id for run in ablation.runs]
    assert len(ids) == len(set(ids))
    students = [run for row in ablation.rows for run in row.runs]
    sources = [source for run in students for source in run.sources]
    assert set(ids) == {run.id for run in (*students, *sources)}
    for run in ablation.runs:
        for source in run.sources:
            assert ids.index(source.id) < ids.index(run.id)


def test_only_what_is_pre_trained_can_be_so_with_its_own_seed(tmp_path):
    file = write(tmp_path / "table.yaml", changed(CONTENT, "rows.1.change.pretrained", "own"))
    (row,) = (row for row in read_ablation(file, track()).rows if row.id == "icd")
    assert [run.sources_by_role["pretrained"].training_seed for run in row.runs] == MINI["seeds"]
    without = track(changed(MINI, "roles.student.pretrained", None))
    (row,) = (row for row in read_ablation(file, without).rows if row.id == "icd")
    assert (row.absent, row.runs) == ("the track pre-trains nothing", ())


def test_a_run_that_stands_in_two_tables_is_one_run(tmp_path):
    again = changed(CONTENT, "rows.1.change", {"method": "icd", "schedule": "3x"})
    one, two = (
        read_ablation(write(tmp_path / f"{name}.yaml", content), track())
        for name, content in (("one", CONTENT), ("two", again))
    )
    assert [run.id for run in one.rows[2].runs] == [run.id for run in two.rows[1].runs]
    assert two.rows[1].runs == two.rows[2].runs
    assert len(two.runs) == len(one.runs) - len(MINI["seeds"])


def test_a_role_with_a_fixed_seed_is_one_run_in_its_row(tmp_path):
    content = changed(CONTENT, "rows.0.change", {"role": "teacher"})
    ablation = read_ablation(
        write(tmp_path / "table.yaml", content), track(changed(MINI, "roles.teacher.seed", 0))
    )
    assert [len(row.runs) for row in ablation.rows] == [1, *[len(MINI["seeds"])] * 2]


def test_a_row_may_differ_on_a_track_or_be_absent(tmp_path):
    tracks = {"mini": {"label": "Here", "change": {"schedule": "4x"}}}
    content = changed(CONTENT, "rows.2.tracks", tracks)
    content = changed(content, "rows.1.tracks", {"mini": {"absent": "too small"}})
    content["findings"] = {"mini": "It works.", "coco": "Not run."}
    found = read_ablation(write(tmp_path / "table.yaml", content), track())
    student, icd, long = found.rows
    assert (long.label, long.runs[0].description["schedule"]["name"]) == ("Here", "4x")
    assert (icd.runs, icd.absent) == ((), "too small")
    assert (student.absent, found.findings) == (None, "It works.")
    elsewhere = read_ablation(tmp_path / "table.yaml", track(changed(MINI, "name", "other")))
    assert elsewhere.rows[2].label == "ICD, longer"
    assert elsewhere.rows[1].runs


def test_what_is_said_of_a_track_holds_on_those_that_extend_it(tmp_path):
    """Unless something is said of them, too."""
    content = changed(CONTENT, "rows.1.tracks", {"coco": {"label": "On COCO"}})
    both = {"coco": {"absent": "too long"}, "coco-quick": {"label": "Quick"}}
    file = write(tmp_path / "table.yaml", changed(content, "rows.2.tracks", both))
    rows = {name: read_ablation(file, TRACKS[name]).rows for name in ("coco-10", "coco-quick")}
    assert [row.label for row in rows["coco-quick"][1:]] == ["On COCO", "Quick"]
    assert [(row.label, row.absent) for row in rows["coco-10"][1:]] == [
        ("On COCO", None),
        ("ICD, longer", "too long"),
    ]


def test_a_track_knows_what_it_extends_through_others(tmp_path):
    content = {"extends": "coco-quick", "name": "own", "title": "Own", "data": MINE["data"]}
    own = load_track(str(write(tmp_path / "own.yaml", content)), ROOTS)
    assert own.extends == ("coco-quick", "coco")
    assert TRACKS["mini"].extends == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"detector": "fcos"}, "detector fcos"), ({"backbone": "resnet50"}, "backbone resnet50")],
)
def test_a_row_of_what_only_other_tracks_have_is_absent(tmp_path, change, reason):
    content = changed(CONTENT, "rows.2.change", change)
    less = changed(MINI, "detectors.fcos", None)
    row = read_ablation(write(tmp_path / "table.yaml", content), track(less)).rows[2]
    assert (row.runs, row.absent) == ((), f"the track has no {reason}")


def test_a_table_of_absent_rows_is_refused_with_what_the_track_has():
    less = track(changed(MINI, "detectors.mask-rcnn", None))
    require_runs(load_ablation("instance_boxes", less), less)
    less = track(changed(less.content.stated(), "detectors.condinst", None))
    with pytest.raises(
        InputError, match=r"instance_boxes\.yaml: rows: the track mini can"
    ) as found:
        require_runs(load_ablation("instance_boxes", less), less)
    for detector in ("mask-rcnn", "condinst"):
        assert f"the track has no detector {detector}" in str(found.value)
    others = ["atss", "faster-rcnn", "fcos", "gfl", "retinanet", "retinanet-plain-fpn", "solov2"]
    assert f"detectors {others}" in str(found.value)


def test_costs_are_shown_only_beside_methods(tmp_path):
    content = CONTENT | {"costs": True}
    for found, costs in ((track(), True), (track(changed(MINI, "methods.icd", None)), False)):
        assert read_ablation(write(tmp_path / "table.yaml", content), found).costs is costs


ONE_DETECTOR = sorted(
    {*ablation_names()}
    - {"backbones", "detectors", "instance_boxes", "instance_segmentation"}
    - {"levels", "methods", "scale", "tuning"}
)


@pytest.mark.parametrize("name", ONE_DETECTOR)
def test_tables_of_one_detector_are_of_the_tracks_students(name):
    """And say nothing of what the paper has of another."""
    found = load_ablation(name, track(changed(MINI, "roles.student.detector", "fcos")))
    assert {run.cost_group[0] for run in found.runs} == {"fcos"}
    assert [row.published for row in found.rows] == [None] * len(found.rows)
    if name != "pretraining":
        assert any(row.published for row in load_ablation(name, track()).rows)


@pytest.mark.parametrize(
    ("teacher", "shown", "reason"),
    [
        ({"zoo": "retinanet_r101_fpn_ms-640-800-3x_coco"}, "retinanet", "retinanet_r101_fpn_ms-"),
        ({"config": "their.py", "checkpoint": "their.pth"}, None, "their.pth"),
        ({"detector": "atss", "backbone": "resnet18-w16", "schedule": "4x"}, "atss", "atss"),
    ],
)
def test_a_teacher_does_not_stand_under_the_name_of_another_detector(teacher, shown, reason):
    rows = load_ablation("detectors", track(changed(MINI, "roles.teacher", teacher))).rows
    teachers = [row for row in rows if row.id.endswith("_teacher")]
    assert [row.id for row in teachers if row.runs] == [f"{shown}_teacher"] * bool(shown)
    reasons = {str(row.absent) for row in teachers if not row.runs}
    assert len(reasons) == 1
    assert reasons.pop().startswith(f"the track's teacher is {reason}")
    assert all(row.runs for row in rows if row not in teachers and not row.id.endswith("_3x"))


def test_the_published_value_of_a_teacher_stands_beside_no_other_detector(tmp_path):
    content = changed(CONTENT, "rows.1.change", {"role": "teacher"}) | {"published_for": "fcos"}
    content = changed(content, "base", {"schedule": "2x"})
    file = write(tmp_path / "table.yaml", content)
    for detector, stated in (("fcos", {"AP": 39.9, "source": "paper"}), ("atss", None)):
        found = track(changed(MINI, "roles.teacher.detector", detector))
        published = read_ablation(file, found).rows[1].published
        assert (published and published.stated()) == stated


def test_a_table_may_take_fewer_seeds_and_a_row_another_baseline(tmp_path):
    content = changed(CONTENT, "seeds", 1)
    content = changed(content, "rows.2.baseline", "icd")
    content = changed(changed(content, "reference", "icd"), "rows.1.x", 2)
    found = read_ablation(write(tmp_path / "table.yaml", content), track())
    assert {len(row.runs) for row in found.rows} == {1}
    assert [found.baseline_of(row).id for row in found.rows] == ["student", "student", "icd"]
    assert (found.reference, found.rows[1].x) == ("icd", 2)


def test_published_values_of_a_detector_that_nobody_has_are_refused(tmp_path):
    file = write(tmp_path / "table.yaml", CONTENT | {"published_for": "retinnet"})
    with pytest.raises(InputError, match=r"published_for: 'retinnet' is not a detector.*retinanet"):
        read_ablation(file, track())
