"""Provenance lists every session that contributed to a training."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from icd.training import train
from icd.training.hooks.sessions import provenance
from tests.lab import Lab, differing, weights
from tests.training.test_train import CrashError, watch

OLD = {"time": "1", "git": {"commit": "old", "modified": False}, "versions": {"torch": "1"}}
NEW = {"time": "2", "git": {"commit": "new", "modified": False}, "versions": {"torch": "1"}}


def of(iterations: tuple[int, int], environment: dict[str, Any]) -> dict[str, Any]:
    return {"iterations": [*iterations], **environment}


def test_a_manifest_names_every_session_and_repeats_nothing() -> None:
    found = provenance([of((0, 2), OLD), of((2, 6), NEW)], NEW)
    assert found == {
        **NEW,
        "sessions": [
            {"iterations": [0, 2], "time": "1", "git": OLD["git"]},
            {"iterations": [2, 6], "time": "2", "git": NEW["git"]},
        ],
    }
    found = provenance([of((0, 2), OLD | {"versions": {"torch": "0"}}), of((2, 6), NEW)], NEW)
    assert found["sessions"][0]["versions"] == {"torch": "0"}


def test_weights_that_were_trained_before_keep_their_origin() -> None:
    found = provenance([of((0, 6), OLD)], NEW)
    assert {key: found[key] for key in OLD} == OLD
    assert found["exported"] == {"time": "2", "git": NEW["git"]}
    assert provenance([], NEW) == NEW, "an imported detector"


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the environment of the next training is."""
    found = dict(OLD)
    monkeypatch.setattr(train, "environment", lambda: dict(found))
    return found


def manifest(lab: Lab, **options: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        (lab.train(lab.run(), **options) / "manifest.json").read_text()
    )
    return content


@pytest.mark.slow
def test_a_resume_under_other_code_says_so_and_a_rerun_changes_no_origin(
    lab: Lab, code: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        watch(patch, crash_after=5)
        with pytest.raises(CrashError):
            lab.train(lab.run(), checkpoint_every=2)
    code.update(NEW)
    found = manifest(lab, checkpoint_every=3)
    first, second = found["sessions"]
    assert (first["iterations"], first["git"]) == ([0, 4], OLD["git"])
    assert (second["iterations"], second["git"]) == ([4, 6], NEW["git"])
    assert {"git.commit", "settings.default_hooks.checkpoint.interval"} <= {*second["changed"]}
    assert len((lab.folder(lab.run()) / "manifest.json").read_text().splitlines()) <= 60
    logs = [file.read_text() for file in (lab.folder(lab.run()) / "work").glob("*/*.log")]
    (log,) = (log for log in logs if "resumed" in log)
    assert "under changed code or settings: git.commit from 'old' to 'new'; settings." in log
    before = weights(lab.folder(lab.run()))

    code.update(OLD | {"time": "3", "git": {"commit": "newest", "modified": True}})
    assert manifest(lab) == found, "a finished run is restored"
    shutil.rmtree(lab.folder(lab.run()) / "work/finished")
    again = manifest(lab)
    assert again["sessions"] == found["sessions"]
    assert (again["time"], again["git"]) == (NEW["time"], NEW["git"])
    assert again["exported"]["git"]["commit"] == "newest"
    assert not differing(weights(lab.folder(lab.run())), before)
