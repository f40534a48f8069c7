"""A training that is killed at random moments ends with bitwise equal weights."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from icd.experiments.run import TrainedRun
from tests.full import short
from tests.lab import Lab
from tests.training.kills import Kills, compare, copy, torment, undisturbed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(shared_lab: Lab, teacher: TrainedRun, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Where the runs of the tests were trained in peace."""
    lab = shared_lab.at(tmp_path_factory.mktemp("whole"))
    lab.place(teacher, shared_lab)
    undisturbed(lab, lab.run(method="icd"))
    return undisturbed(lab, lab.run())


@pytest.mark.parametrize(
    ("change", "kills", "seed"),
    short([({}, 5, 1), ({"method": "icd"}, 5, 2), ({}, 20, 3)], lambda case: case[1] == 5),
)
def test_ends_with_the_same_bits_whenever_it_is_killed(
    lab: Lab, whole: Lab, change: dict, kills: int, seed: int
) -> None:
    place = lab.at(lab.project / "kills")
    place.project.mkdir()
    done = torment(place, lab.run(**change), whole, kills, random.Random(seed))
    ended = Counter(done) - Counter({"trainings compared": done["trainings compared"]})
    assert ended.total() - ended["finished before its kill"] >= kills


@pytest.mark.parametrize(("way", "status"), [("write", -9), ("full disk", 1)])
def test_half_a_checkpoint_is_none(lab: Lab, whole: Lab, way: str, status: int) -> None:
    run = lab.run()
    place = copy(lab.at(lab.project / "kills"), whole, run)
    kills = Kills(place, run, random.Random(0), seconds=1.0)
    assert kills.end(way) == status
    work = place.folder(run) / "work"
    assert list(work.glob("iter_*.pth")) == []
    left = [*work.glob(".writing-*")]
    assert len(left) == (1 if way == "write" else 0)
    assert kills.wait(kills.start(), way) == 0
    compare(place.folder(run), whole.folder(run))
