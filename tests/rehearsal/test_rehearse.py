"""Rehearsals on this machine: what passes, what fails, what is skipped."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from icd.__main__ import main
from icd.errors import InputError
from icd.experiments.kind import Kind, kinds
from icd.experiments.rehearsals import Rehearsed, file_of, folder, measured, read_rehearsed
from icd.experiments.run import ImportedRun
from icd.experiments.track import Track
from icd.experiments.walltime import origin
from icd.rehearsal import rehearse as module
from icd.rehearsal.rehearse import Options, adjusted, rehearse, rehearse_kind
from icd.rehearsal.steps import Rehearsing, StepError, steady
from tests.experiments.track_files import laid_over
from tests.lab import Lab

RANDOM = Options(random=True)


@pytest.fixture
def toy(shared_lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Track:
    """The small track, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "processor", lambda: "this machine")
    return shared_lab.track


def kinds_of(track: Track, *changes: dict[str, Any]) -> list[Kind]:
    return kinds([track.describe(change, 0) for change in changes])


def passed(**values: Any) -> dict[str, Any]:
    return {"seconds_per_iteration": 2.0, "loading": 0.5, "host_mib": 100.0, **values}


@pytest.mark.slow
def test_a_kind_trains_stops_resumes_evaluates_and_is_loaded(toy: Track) -> None:
    """The only rehearsal in earnest here: a method, a teacher, on the data itself."""
    (kind,) = kinds_of(toy, {"method": "icd", "inherit": True})
    outcome = rehearse_kind(toy, kind, Options(iterations=4))
    assert outcome.failure is None, Path(outcome.log).read_text()
    assert (outcome.machine, outcome.gpus, outcome.data) == ("this machine", 0, "real")
    assert len(outcome.iterations) == 4
    assert min(outcome.iterations) <= (outcome.seconds_per_iteration or 0)
    assert 0 < (outcome.loading or 0) < 1
    assert (outcome.host_mib or 0) > 100
    log = Path(outcome.log).read_text()
    assert re.search(r"interrupted by SIGTERM after 2 of 4 iterations; state saved", log)
    assert "resuming from" in log
    assert re.search(r"inherited \d+ tensors", log)
    assert log.count("$ python -m icd train") == 2
    assert log.count("$ python -m icd evaluate") == log.count("$ python -m icd.rehearsal.load") == 1
    assert not list((folder(toy) / "work").iterdir())
    assert read_rehearsed(file_of(toy, kind.id)) == {"this machine": outcome}
    assert origin(kind.runs[0], measured(toy)) == "measured by rehearsal on this machine"


def test_a_kind_that_fails_does_not_stop_the_others(
    toy: Track, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = {"config": "nowhere.py", "checkpoint": "nowhere.pth"}
    content = toy.content.stated()
    content["roles"]["teacher"] = teacher
    track = laid_over(replace(toy, content=type(toy.content)(**content)), {})
    first, second = kinds_of(track, {"method": "icd"}, {})
    assert isinstance(first.runs[0].teacher, ImportedRun)
    for step in ("train", "evaluate", "load"):
        monkeypatch.setattr(Rehearsing, step, lambda self: None)
    monkeypatch.setattr(Rehearsing, "measured", lambda self: passed())
    assert rehearse(track, [first, second], RANDOM) == 1
    failed = read_rehearsed(file_of(track, first.id))["this machine"]
    assert "nowhere.py: does not exist" in str(failed.failure)
    assert "Traceback" in Path(failed.log).read_text()
    assert read_rehearsed(file_of(track, second.id))["this machine"].failure is None
    printed = capsys.readouterr().out
    assert f"FAILED  nowhere.py: does not exist; expected a config file  (log: {failed.log})" in (
        printed
    )
    assert "passed  2 s per iteration (50% loading), 100 MiB" in printed


def test_what_this_machine_has_rehearsed_is_skipped(
    toy: Track, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kind,) = kinds_of(toy, {})
    done: list[object] = []

    def measure(*arguments: object) -> dict[str, Any]:
        done.append(arguments)
        return passed()

    monkeypatch.setattr(module, "_measure", measure)
    rehearse(toy, [kind], RANDOM)
    rehearse(toy, [kind], RANDOM)
    assert len(done) == 1
    rehearse(toy, [kind], Options(random=True, again=True))
    assert len(done) == 2
    monkeypatch.setattr(module, "processor", lambda: "another")
    rehearse(toy, [kind], RANDOM)
    assert {*read_rehearsed(file_of(toy, kind.id))} == {"this machine", "another"}


def test_what_failed_is_tried_again(toy: Track, monkeypatch: pytest.MonkeyPatch) -> None:
    (kind,) = kinds_of(toy, {})

    def broken(*_: object) -> None:
        raise StepError("train: out of\nmemory")

    monkeypatch.setattr(module, "_measure", broken)
    assert rehearse(toy, [kind], RANDOM) == 1
    assert measured(toy) == {}
    monkeypatch.setattr(module, "_measure", lambda *_: passed())
    assert rehearse(toy, [kind], RANDOM) == 0
    assert measured(toy)[kind.id].failure is None


def test_a_training_that_is_not_stopped_or_not_resumed_has_failed(
    toy: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kind,) = kinds_of(toy, {})
    log = tmp_path / "log"
    one = Rehearsing(kind.rehearsal, tmp_path, tmp_path, tmp_path, toy.machine, log)
    log.write_text("usual\nMemoryError: no room\n\n")
    statuses = iter([0])
    monkeypatch.setattr(Rehearsing, "_step", lambda self, arguments: next(statuses))
    with pytest.raises(StepError, match="train: was not stopped by SIGTERM"):
        one.train()
    statuses = iter([143, 1])
    with pytest.raises(StepError, match="resume: MemoryError: no room"):
        one.train()
    statuses = iter([143, 0])
    sessions = [{"first": 0, "seconds": [1.0, 1.0]}, {"first": 0, "seconds": [1.0] * 4}]
    one.times.write_text(json.dumps({"sessions": sessions}))
    with pytest.raises(StepError, match="resume: started from iteration 0"):
        one.train()


def test_the_warm_up_of_each_session_does_not_count() -> None:
    assert steady([9.0, 8.0, 7.0, 1.0, 2.0]) == [1.0, 2.0]
    assert steady([9.0, 8.0]) == [8.0]


def test_another_batch_size_is_another_kind_and_other_gpus_are_not(toy: Track) -> None:
    (kind,) = kinds_of(toy, {})
    (smaller,) = kinds_of(adjusted(toy, batch=1), {})
    (on_gpu,) = kinds_of(adjusted(toy, gpus=1), {})
    assert smaller.id != kind.id
    assert smaller.rehearsal.recipe.batch_size == 1
    assert on_gpu.id == kind.id
    assert adjusted(toy, gpus=1).machine.gpus == 1
    assert adjusted(toy) == toy


def test_missing_data_is_named_with_the_remedy(toy: Track) -> None:
    track = replace(toy, data_root=Path("nowhere"))
    with pytest.raises(InputError, match=r"nowhere/train-16.json: does not exist; .*--random"):
        rehearse(track, kinds_of(track, {}), Options())


def test_the_command_writes_a_table_and_its_status_tells_of_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def broken(*_: object) -> None:
        raise StepError("train: out of memory")

    monkeypatch.setattr(module, "_measure", lambda *_: passed())
    monkeypatch.setattr(module, "processor", lambda: "this machine")
    assert main(["rehearse", "main", "--random"]) == 0
    assert "5 rehearsals passed, 0 failed." in capsys.readouterr().out
    table = Path("results/mini/rehearsal/table.md").read_text()
    assert table.count("passed") == 5 + 1
    kind = next(Path("results/mini/rehearsal/kinds").glob("*.json"))
    monkeypatch.setattr(module, "_measure", broken)
    with pytest.raises(SystemExit) as ended:
        main(["rehearse", "main", "--random", "--again", "--kind", kind.stem])
    assert ended.value.code == 3
    assert main(["rehearsal_table", "heads"]) == 0
    table = Path("results/mini/rehearsal/table.md").read_text()
    assert "4 rehearsals passed, 1 failed, 3 kinds were not rehearsed." in table
    assert "**failed**: train: out of memory" in table
    assert main(["rehearse", "main", "--random", "--kind", "other"]) == 2


def test_results_are_read_back_as_they_were_written(toy: Track) -> None:
    (kind,) = kinds_of(toy, {})
    one = Rehearsed(machine="A", gpus=0, data="random", log="log", failure="train: x")
    file = file_of(toy, kind.id)
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"A": one.model_dump(exclude_none=True)}))
    assert read_rehearsed(file) == {"A": one}
