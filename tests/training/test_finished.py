"""A finished run survives whatever other pipelines delete."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from mmengine.runner import IterBasedTrainLoop

from icd.files import sha256
from icd.training.finished import FOLDER
from tests.lab import Lab

OUTPUTS = ("model.py", "model.pth", "method.pth", "manifest.json")
LONG_AGO = 10**9  # seconds since 1970

pytestmark = pytest.mark.slow


class Finished:
    """A run that was trained; from now on, each iteration is an error."""

    def __init__(self, lab: Lab, patch: pytest.MonkeyPatch) -> None:
        self.lab, self.run = lab, lab.run(method="icd")
        self.folder = lab.train(self.run)
        for name in OUTPUTS:
            os.utime(self.folder / name, (LONG_AGO, LONG_AGO))
        self.hashes = self.content()
        patch.setattr(IterBasedTrainLoop, "run_iter", refuse)

    def content(self) -> dict[str, str]:
        return {name: sha256(self.folder / name) for name in OUTPUTS}


def refuse(loop: IterBasedTrainLoop, batch: Any) -> None:
    raise AssertionError("it was trained again")


@pytest.fixture
def finished(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Finished:
    return Finished(lab, monkeypatch)


def test_deleted_outputs_are_restored_without_training(
    finished: Finished, capfd: pytest.CaptureFixture[str]
) -> None:
    """As by the Snakemake of another pipeline, which takes them for those of its failed job."""
    for name in OUTPUTS:
        (finished.folder / name).unlink()
    capfd.readouterr()
    finished.lab.train(finished.run)
    assert finished.content() == finished.hashes, "the manifest, too: nothing was computed now"
    assert f"{finished.run.id}: was finished (2" in capfd.readouterr().err
    for name in OUTPUTS:
        assert (finished.folder / name).stat().st_mtime > LONG_AGO, "Snakemake compares times"


@pytest.mark.parametrize("name", ["model.pth", "model.py", "method.pth"])
def test_a_damaged_copy_is_not_used(finished: Finished, name: str) -> None:
    """The last checkpoint still has the weights."""
    copy = finished.folder / FOLDER / name
    copy.unlink()
    if name == "method.pth":
        copy.write_bytes((finished.folder / name).read_bytes()[:-1])
    (finished.folder / name).unlink()
    finished.lab.train(finished.run)
    assert finished.content()[name] == finished.hashes[name]


def test_it_takes_no_further_space(finished: Finished) -> None:
    for name in OUTPUTS:
        assert os.path.samefile(finished.folder / name, finished.folder / FOLDER / name)


def test_a_file_system_without_hard_links_holds_copies(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(source: Path, target: Path) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", link)
    finished.lab.train(finished.run)
    assert finished.content() == finished.hashes
    assert not os.path.samefile(
        finished.folder / "model.pth", finished.folder / FOLDER / "model.pth"
    )
