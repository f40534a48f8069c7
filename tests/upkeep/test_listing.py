"""Runs are listed with what their folders hold."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from pathlib import Path

import pytest

from icd.__main__ import main
from icd.experiments.run import Run
from icd.experiments.track import Track
from icd.process.failures import KILLED, TRAINING, recorded
from icd.upkeep.listing import age
from icd.upkeep.states import average_precision, state_of
from tests.lab import Lab
from tests.upkeep.conftest import describe, fail, finish, stop, write


def test_a_run_that_nobody_began_is_planned(runs: list[Run]) -> None:
    assert state_of(runs[0]).state == "planned"
    describe(runs[0])
    assert state_of(runs[0]).state == "planned"


def test_a_run_with_its_outputs_is_finished(runs: list[Run]) -> None:
    finish(runs[0])
    found = state_of(runs[0])
    assert (found.state, found.detail, found.busy) == ("finished", "not evaluated", False)
    assert found.since == pytest.approx(time.time(), abs=60)
    finish(runs[1], ap=0.123)
    assert average_precision(runs[1]) == ("test", pytest.approx(12.3))
    assert state_of(runs[1]).detail == ""


def test_a_run_of_the_tuning_table_has_the_ap_of_its_split(runs: list[Run]) -> None:
    metrics = finish(runs[0]) / "metrics-tune.json"
    metrics.write_text(json.dumps({"metrics": {"bbox": {"AP": None}}}))
    assert average_precision(runs[0]) == ("tune", 0.0)


def test_an_interrupted_run_says_how_far_it_is(runs: list[Run]) -> None:
    stop(runs[0], 100)
    stop(runs[0], 2000)
    os.utime(runs[0].folder / "work/iter_100.pth", (1, 1))
    found = state_of(runs[0])
    assert found.state == "stopped"
    assert found.detail == f"at 2,000 of {runs[0].iterations:,}"


def test_a_run_that_is_trained_is_running(running: Run) -> None:
    found = state_of(running)
    assert (found.state, found.busy) == ("running", True)
    assert found.detail.startswith("process ")


def test_a_failure_is_named(runs: list[Run]) -> None:
    with pytest.raises(ValueError, match="nan"), recorded(describe(runs[0])):
        raise ValueError("the loss is nan")
    found = state_of(runs[0])
    assert (found.state, found.busy) == ("failed", False)
    assert found.detail == "ValueError: the loss is nan"
    finish(runs[1])
    fail(runs[1], "KeyError: 'x'", "test", log="a.log")
    assert state_of(runs[1]).detail == "evaluation on test: KeyError: 'x' (log a.log)"


def test_an_evaluation_under_way_is_running(runs: list[Run]) -> None:
    here = {"host": socket.gethostname(), "pid": os.getpid()}
    finish(runs[0])
    fail(runs[0], KILLED, "test", **here)
    found = state_of(runs[0])
    assert (found.state, found.busy) == ("running", True)
    assert found.detail.startswith(f"evaluation on test: process {os.getpid()} on ")


def test_a_process_that_is_gone_has_failed(runs: list[Run]) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    fail(runs[0], KILLED, host=socket.gethostname(), pid=child)
    found = state_of(runs[0])
    assert (found.state, found.busy) == ("failed", False)
    fail(runs[1], KILLED)  # nobody here can tell whether a process elsewhere is gone
    found = state_of(runs[1])
    assert (found.state, found.busy) == ("failed", True)
    assert TRAINING not in found.detail


def test_the_list_of_a_track_has_all_runs_of_its_tables(
    track: Track, runs: list[Run], running: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(runs[0], ap=0.4567)
    stop(runs[1])
    fail(runs[2], "ValueError: a | b")
    unplanned = track.describe({"role": "student", "schedule": "9x"}, 0)
    finish(unplanned)
    assert main(["runs", "--track", "tiny.yaml"]) == 0
    title, _, *lines = capsys.readouterr().out.splitlines()
    left = len(runs) - 4
    assert title == f"tiny: 1 running, 1 failed, 1 stopped, 2 finished, {left} planned"
    states = {line.split()[1]: line for line in lines[2:]}
    assert len(states) == len(runs) + 1
    assert re.search(r"\| finished +\| 45\.7 +\| \d+ s", states[runs[0].id])
    assert "at 100 of" in states[runs[1].id]
    assert r"ValueError: a \| b" in states[runs[2].id]
    assert "not evaluated; in no table" in states[unplanned.id]
    order = [line.split()[3] for line in lines[2:]]
    assert order == sorted(order, key=["running", "failed", "stopped", "finished", "planned"].index)


def test_without_a_track_the_runs_that_are_here_are_listed(
    runs: list[Run], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs"]) == 0
    assert capsys.readouterr().out.startswith("No run lies in results/")
    finish(runs[0])
    write(Path("results/other/main/table.md"))
    assert main(["runs"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("tiny: 1 finished\n")
    assert "in no table" not in printed


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (5, "5 s"), (119, "119 s"), (600, "10 min"), (7200, "2 h"), (9e5, "10 days")],
)
def test_an_age_has_one_unit(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_a_trained_run_is_finished(lab: Lab, teacher: Run) -> None:
    lab.write_description(teacher)
    assert state_of(teacher).state == "finished"
