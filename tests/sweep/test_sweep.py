"""Families of mmdet's detectors train, learn with ICD, and leave plain mmdet detectors."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from tests.full import FULL
from tests.lab import Lab
from tests.sweep.families import Family, families
from tests.sweep.page import OUTCOME, PAGE, page, read
from tests.sweep.steps import go

pytestmark = pytest.mark.slow

FAMILIES = families()
# Necks of several modules, with one level, with levels of unequal width and in falling order, or
# none; pipelines that mix images; deformable convolutions; transformers; masks.
SOME = (
    "atss-dyhead",
    "yolov3",
    "yolof",
    "yolox",
    "centernet",
    "rtmdet-ins",
    "dino",
    "mask2former",
)


@pytest.fixture
def place(shared_lab: Lab, tmp_path: Path) -> Lab:
    """The lab in a fresh folder."""
    return shared_lab.at(tmp_path)


@pytest.mark.parametrize("name", SOME)
def test_some_families_go_all_the_way(name: str, place: Lab) -> None:
    outcome = asdict(go(FAMILIES[name], place, fail=True))
    assert outcome == read()[name]


@FULL
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_every_family_has_the_stored_outcome(family: Family, place: Lab) -> None:
    found, stored = asdict(go(family, place)), read()[family.name]
    assert found["failed"] == stored["failed"], found["reason"]
    if not found["failed"]:
        assert found == stored


def test_the_page_is_current() -> None:
    """``python -m tests.sweep page`` writes it."""
    assert PAGE.read_text() == page()
    assert read().keys() == FAMILIES.keys()


def test_most_families_work() -> None:
    found = read()
    working = {name for name, outcome in found.items() if not outcome["failed"]}
    wanted = {"rtmdet", "rtmdet-ins", "yolox", "tood", "vfnet", "gfl", "deformable-detr", "dino"}
    assert wanted <= working
    assert len(working) >= 45
    assert {name for name, family in FAMILIES.items() if family.because} == found.keys() - working


def test_the_outcome_names_no_place_of_this_machine() -> None:
    assert "/" not in OUTCOME.read_text().replace(" / ", "")
