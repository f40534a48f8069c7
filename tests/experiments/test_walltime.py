"""Walltime and memory: measured by a rehearsal, otherwise assumed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from icd.errors import InputError
from icd.experiments.kind import rehearsal_of
from icd.experiments.rehearsals import Rehearsed, file_of, measured
from icd.experiments.walltime import origin, training_memory, training_minutes
from tests.experiments.track_files import MINI, changed, described, track

TRACK = track(changed(MINI, "machine.seconds_per_iteration", 3.0))
RUN = described(TRACK, {"method": "icd"})
KIND = rehearsal_of(RUN).id


def outcome(**values: Any) -> dict[str, Any]:
    usual = {"machine": "NVIDIA X", "gpus": 0, "data": "random", "log": "a.log"}
    return {**usual, "seconds_per_iteration": 0.5, "host_mib": 1000.0, **values}


def leave(*outcomes: dict[str, Any], kind: str = KIND) -> None:
    file = file_of(TRACK, kind)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({one["machine"]: one for one in outcomes}))


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_without_a_rehearsal_the_track_decides() -> None:
    rehearsal = measured(TRACK)
    assert rehearsal == {}
    assert training_minutes(RUN, TRACK.machine, rehearsal) == math.ceil(
        20 + 1.5 * RUN.iterations * 3 / 60
    )
    assert training_memory(RUN, TRACK.machine, rehearsal) == TRACK.machine.memory
    assert origin(RUN, rehearsal) == "assumed, not measured"


def test_a_rehearsal_of_its_kind_replaces_the_guess() -> None:
    leave(outcome())
    rehearsal = measured(TRACK)
    assert training_minutes(RUN, TRACK.machine, rehearsal) == 27  # 20 + 1.5 x 500 x 0.5 s
    assert training_memory(RUN, TRACK.machine, rehearsal) == 1311  # 1250 MiB
    assert training_memory(RUN, TRACK.machine, rehearsal, 100_000_000) == 1311 + 800
    assert origin(RUN, rehearsal) == "measured by rehearsal on NVIDIA X"
    other = described(TRACK, {"method": "icd", "schedule": "3x"}, 1)
    assert origin(other, rehearsal) == origin(RUN, rehearsal)
    assert origin(described(TRACK, {}), rehearsal) == "assumed, not measured"


def test_the_slowest_machine_counts() -> None:
    slow, fast = (
        outcome(machine=name, seconds_per_iteration=s) for name, s in (("A", 2.0), ("B", 1.0))
    )
    leave(slow, fast)
    assert measured(TRACK)[KIND] == Rehearsed(**slow)


@pytest.mark.parametrize("other", [{"failure": "train: out of memory"}, {"gpus": 1}], ids=str)
def test_neither_failures_nor_other_devices_count(other: dict[str, Any]) -> None:
    leave(outcome(**other))
    assert measured(TRACK) == {}


def test_a_file_with_other_content_is_named() -> None:
    leave({"machine": "A", "gpus": "many"})
    with pytest.raises(InputError, match=rf"{KIND}\.json: A\."):
        measured(TRACK)
