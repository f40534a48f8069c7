"""Snapshots of a training, and the method's weights beside the student's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from icd.errors import InputError
from icd.evaluation import evaluate
from icd.experiments.snapshots import snapshot_file
from tests.lab import Lab, differing, weights
from tests.training.test_train import CrashError, watch

pytestmark = pytest.mark.slow


def taken(lab: Lab, folder: Path) -> dict[str, dict]:
    """The weights of each snapshot of a run by file name."""
    files = sorted((folder / "work/snapshots").iterdir())
    return {file.name: torch.load(file, weights_only=True)["state_dict"] for file in files}


@pytest.mark.parametrize("change", [{}, {"method": "icd"}])
def test_snapshots_change_nothing_and_end_with_the_detector(
    lab: Lab, tmp_path: Path, change: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = lab.run(**change)
    bare = lab.train(run)
    assert not (bare / "work/snapshots").exists()
    assert (bare / "method.pth").exists() is bool(change)

    other = lab.at(tmp_path / "other")
    if run.teacher:
        other.place(run.teacher, lab)
    with monkeypatch.context() as patch:  # stopped after a snapshot, before its checkpoint
        watch(patch, crash_after=3)
        with pytest.raises(CrashError):
            other.train(run, checkpoint_every=2, snapshots=3)
    folder = other.train(run, checkpoint_every=2, snapshots=3)
    found = taken(other, folder)
    assert list(found) == ["iter_2.pth", "iter_4.pth", "iter_6.pth"]
    assert not differing(found["iter_6.pth"], weights(folder))
    assert not differing(weights(folder), weights(bare))
    assert differing(found["iter_4.pth"], found["iter_6.pth"])


def test_the_methods_weights_are_those_it_was_trained_to(lab: Lab) -> None:
    folder = lab.train(lab.run(method="icd"))
    exported = torch.load(folder / "method.pth", weights_only=True)["state_dict"]
    work = torch.load(folder / "work/iter_6.pth", weights_only=False)["state_dict"]
    expected = {name: value for name, value in work.items() if name.startswith("method.")}
    assert not differing({f"method.{name}": value for name, value in exported.items()}, expected)


def test_a_snapshot_is_evaluated_beside_the_detector(lab: Lab) -> None:
    run = lab.run()
    folder = lab.train(run, snapshots=2)
    result = lab.evaluate(run)
    kept = (folder / "test/bbox.json").read_bytes()
    metrics = {}
    for iteration in (3, 6):
        output = folder / f"steps/{iteration}.json"
        with lab.runner():
            evaluate.evaluate(run.folder, "test", output, snapshot_file(run, iteration))
        metrics[iteration] = json.loads(output.read_text())["metrics"]
    assert metrics[6] == result["metrics"]
    assert metrics[3] != result["metrics"]
    assert (folder / "test/bbox.json").read_bytes() == kept


def test_a_snapshot_that_was_not_taken_is_named(lab: Lab) -> None:
    run = lab.run()
    folder = lab.train(run)
    with lab.runner(), pytest.raises(InputError, match=r"iter_3\.pth: cannot be read"):
        evaluate.evaluate(run.folder, "test", folder / "x.json", snapshot_file(run, 3))
