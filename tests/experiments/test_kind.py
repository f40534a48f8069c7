"""Runs that cost the same and fail alike are one kind."""

from __future__ import annotations

from typing import Any

import pytest

from icd.experiments.kind import ITERATIONS, kinds, rehearsal_of
from icd.experiments.track import load_track
from tests.experiments.track_files import MINI, changed, described, stating, track

ICD = {"method": "icd"}


def kind(change: dict[str, Any], content: dict[str, Any] = MINI, seed: int = 0) -> str:
    return rehearsal_of(described(track(content), change, seed)).id


@pytest.mark.parametrize(
    "change",
    [
        ICD | {"schedule": "3x"},
        ICD | {"options": {"weight": 3.5}},
        ICD | {"options": {"weight": 2}},
        ICD | {"options": {"warmup": 100}},
        ICD | {"teacher": {"schedule": "1x"}},
    ],
    ids=str,
)
def test_what_changes_no_cost_is_of_the_same_kind(change: dict[str, Any]) -> None:
    assert kind(change) == kind(ICD)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("recipe.optimizer.lr", 0.1),
        ("recipe.unit", 7),
        ("recipe.ramp", 3),
        ("methods.icd.optimizer.lr", 0.5),
        ("methods.icd.recipe", {"optimizer": {"clip": 5.0}}),
        ("roles.student.pretrained", None),
        ("data.splits.train", 100),
    ],
)
def test_neither_do_these_keys_of_a_track(key: str, value: object) -> None:
    assert kind(ICD, changed(MINI, key, value)) == kind(ICD)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"method": "cwd"},
        ICD | {"inherit": True},
        ICD | {"detector": "fcos"},
        ICD | {"backbone": "resnet18-w16"},
        ICD | {"teacher": {"backbone": "resnet18-w8"}},
        ICD | {"options": {"heads": 2}},
        ICD | {"options": {"levels": [8, 16]}},
        ICD | {"options": {"auxiliary": ["localisation"]}},
    ],
    ids=str,
)
def test_what_changes_cost_or_failure_is_another_kind(change: dict[str, Any]) -> None:
    assert kind(change) != kind(ICD)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("recipe.batch_size", 4),
        ("recipe.precision", "bfloat16"),
        ("recipe.channels_last", False),
        ("recipe.optimizer.clip", None),
        ("methods.icd.recipe", {"optimizer": {"clip_value": 1.0}}),
        ("methods.icd.optimizer", "student"),
        ("images.scale", [256, 128]),
        ("machine.gpus", 2),
    ],
)
def test_so_do_these_keys_of_a_track(key: str, value: object) -> None:
    assert kind(ICD, changed(MINI, key, value)) != kind(ICD)


def test_the_rehearsal_keeps_the_run_and_downloads_nothing() -> None:
    coco = stating(track(), load_track("coco", {"coco": "/nowhere"}).content.stated())
    run = described(coco, {"method": "mgd", "options": {"masked": 0.3}}, 1)
    short = rehearsal_of(run)
    assert short.iterations == ITERATIONS
    assert short.recipe.batch_size == run.recipe.batch_size == 16
    assert short.images == run.images
    assert "Pretrained" in str(run.description)
    assert "Pretrained" not in str(short.description)


def test_a_short_training_has_the_kind_of_its_rehearsal() -> None:
    short = rehearsal_of(described(track(), ICD))
    assert rehearsal_of(short) == short


def test_kinds_group_the_runs_of_a_plan() -> None:
    mini = track()
    runs = [described(mini, change, seed) for change in ({}, ICD) for seed in (0, 1)]
    student, icd = kinds(runs)
    assert student.runs == tuple(runs[:2])
    assert icd.runs == tuple(runs[2:])
    assert icd.label == (
        "retinanet, resnet18-w8, icd, teacher retinanet resnet18-w16, 8 images of 96 x 96, float32"
    )


def test_an_imported_teacher_is_replaced_by_one_with_random_weights() -> None:
    teacher = {"config": "my/teacher.py", "checkpoint": "my/teacher.pth"}
    content = changed(MINI, "roles.teacher", teacher)
    run = described(track(content), ICD)
    assert kinds([run.teacher, run])[0].runs == (run,)
    assert kind(ICD, content) != kind(ICD)
