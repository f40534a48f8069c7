"""The content of a run, and nothing else, identifies it."""

from __future__ import annotations

import copy
import hashlib
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icd.experiments.run import ImportedRun, TrainedRun, load_run, read_run
from icd.mappings import content_hash, merge
from tests.experiments.track_files import MINI, changed, described, leaves, track

TEXT = st.text('ab.é"', max_size=3)
NUMBERS = st.integers(-3, 3) | st.floats(-1e3, 1e3)
PLAIN = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(TEXT, parts, max_size=3),
    max_leaves=8,
)
TREES = st.dictionaries(st.sampled_from("abcd"), PLAIN, max_size=4)
calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
STUDENT = described(track(), {"method": "icd", "inherit": True}, seed=0)


def shuffled(tree: Any, order: random.Random) -> Any:
    """The same dictionaries with their keys in another order."""
    if isinstance(tree, dict):
        names = order.sample(sorted(tree), len(tree))
        return {name: shuffled(tree[name], order) for name in names}
    return [shuffled(part, order) for part in tree] if isinstance(tree, list) else tree


@calmly
@given(tree=TREES, order=st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(tree, order):
    assert content_hash(shuffled(tree, order)) == content_hash(tree)


@calmly
@given(one=TREES, other=TREES)
def test_the_hash_tells_contents_apart(one, other):
    # 1, 1.0 and True are equal in Python, but not in an experiment.
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (content_hash(one) == content_hash(other)) == same


def test_the_hash_is_that_of_the_canonical_json():
    canonical = '{"a":[1,2.5,null,"\\u00e9"],"b":{"c":true}}'
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    assert content_hash({"b": {"c": True}, "a": [1, 2.5, None, "é"]}) == digest[:10]


def test_what_json_cannot_say_has_no_hash():
    with pytest.raises(ValueError, match="JSON"):
        content_hash({"lr": float("nan")})


@pytest.mark.parametrize("key", [key for key, _ in leaves(STUDENT.identity)])
def test_every_part_of_an_identity_is_part_of_the_id(key):
    assert STUDENT.id.endswith(content_hash(STUDENT.identity))
    other = changed(STUDENT.identity, key, "something else")
    assert content_hash(other) != content_hash(STUDENT.identity)


def test_the_order_of_a_description_is_not_part_of_the_id():
    other = shuffled(STUDENT.description, random.Random(0))
    assert list(other) != list(STUDENT.description)
    assert read_run(other, Path("run.json")).id == STUDENT.id


def test_what_is_stated_and_what_is_the_default_are_one_run():
    """So an option that comes with today's behaviour as its default renames no run."""
    content = changed(MINI, "methods.icd.options.heads", 8)
    content = changed(content, "recipe.precision", "float32")
    assert described(track(content), {"method": "icd", "inherit": True}, 0).id == STUDENT.id
    other = changed(content, "methods.icd.options.heads", 4)
    assert described(track(other), {"method": "icd", "inherit": True}, 0).id != STUDENT.id


@pytest.mark.parametrize(
    ("change", "renamed"), [({"method": "icd"}, True), ({"inherit": True}, False), ({}, False)]
)
def test_the_precision_of_a_teacher_renames_the_runs_that_learn_from_it(change, renamed):
    """Neither the teacher itself nor what it is compared with."""
    bfloat16 = track(changed(MINI, "recipe.teacher_precision", "bfloat16"))
    ours, other = (described(one, change, 0) for one in (track(MINI), bfloat16))
    assert (other.id != ours.id) is renamed
    if ours.teacher:
        assert other.teacher.id == ours.teacher.id
    same = track(changed(MINI, "recipe.teacher_precision", "float32"))  # as the student's
    assert described(same, change, 0).id == ours.id


def test_a_new_option_with_a_default_renames_no_run():
    class Later(TrainedRun):
        momentum: float = 0.9
        notes: str = ""

    assert Later.model_validate(STUDENT.description).id == STUDENT.id
    assert Later.model_validate(STUDENT.description | {"momentum": 0.5}).id != STUDENT.id


@pytest.mark.parametrize("key", ["tune", "test", "another"])
def test_splits_that_are_not_trained_on_are_not_part_of_the_id(key):
    other = track(changed(MINI, f"data.splits.{key}", 77))
    assert described(other, {"method": "icd", "inherit": True}, 0).id == STUDENT.id


@pytest.mark.parametrize(
    ("base", "change", "expected"),
    [
        ({"a": 1, "b": 2}, {"b": 3, "c": 4}, {"a": 1, "b": 3, "c": 4}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"a": {"b": 1, "c": 3}}),
        ({"a": {"b": 1}}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 2}}),
        ({"a": [1, 2, 3]}, {"a": [4]}, {"a": [4]}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
        ({}, {"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 1}}}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}),
    ],
)
def test_merge_lays_a_change_over_a_base(base, change, expected):
    before = copy.deepcopy((base, change))
    assert merge(base, change) == expected
    assert (base, change) == before


@calmly
@given(base=TREES, change=TREES)
def test_a_merged_change_is_settled(base, change):
    merged = merge(base, change)
    assert merge(merged, change) == merged
    assert merge(base, {}) == base
    assert merge({}, change) == change
    assert set(merged) == set(base) | set(change)


@pytest.mark.parametrize(
    ("change", "seed", "slug"),
    [
        ({"role": "teacher"}, 0, "retinanet-big-4x-plain-seed0"),
        ({}, 1, "retinanet-small-1x-plain-seed1"),
        ({"inherit": True}, 0, "retinanet-small-1x-plain+inherit-seed0"),
        ({"method": "icd", "schedule": "2.5x"}, 12, "retinanet-small-2.5x-icd-seed12"),
        ({"method": "icd", "inherit": True}, 0, "retinanet-small-1x-icd+inherit-seed0"),
    ],
)
def test_the_slug_says_what_the_run_is(change, seed, slug):
    roles = {
        "teacher": {"backbone": "big", "schedule": "4x"},
        "student": {"backbone": "small", "schedule": "1x"},
    }
    content = changed(MINI, "roles", roles)
    content = changed(content, "backbones", {"big": {"backbone": {}}, "small": {"backbone": {}}})
    assert described(track(content), change, seed).slug == slug


def test_the_id_is_fit_for_a_file_name():
    assert re.fullmatch(r"[A-Za-z0-9.+_-]+-[0-9a-f]{10}", STUDENT.id)
    assert STUDENT.folder.parts == ("results", "mini", "runs", STUDENT.id)


def test_an_imported_teacher_is_a_run_without_training():
    files = {"config": "their/config.py", "checkpoint": "their/weights.pth"}
    student = described(track(changed(MINI, "roles.teacher", files)), {"inherit": True}, seed=0)
    assert isinstance(student.teacher, ImportedRun)
    assert student.teacher.sources == []
    assert student.teacher.slug == "imported"
    assert student.teacher.summary == {"track": "mini", **files}


def test_the_summary_names_the_factors_of_a_run():
    assert STUDENT.summary == {
        "track": "mini",
        "detector": "retinanet",
        "backbone": MINI["roles"]["student"]["backbone"],
        "schedule": MINI["roles"]["student"]["schedule"],
        "iterations": STUDENT.schedule.iterations,
        "method": "icd",
        "inherit": True,
        "teacher": STUDENT.teacher.id,
        "seed": 0,
    }
    plain = described(track(), {}, seed=3)
    assert plain.summary["method"] == "none"
    assert plain.summary["teacher"] is None


def test_a_run_on_natural_scenes_survives_its_description():
    """Such scenes have their own number of classes, so that of plain ones is not filled in."""
    content = changed(MINI, "data.synthetic", {"seed": 1, "image_size": 96, "natural": {}})
    run = described(track(content), {"method": "icd"}, 0)
    assert read_run(run.description, Path("run.json")) == run


def test_a_run_survives_its_file(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(STUDENT.description, indent=1))
    assert load_run(tmp_path).id == STUDENT.id
