"""Committed weights are taken instead of trained, but only with reuse=true and the same inputs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from mmengine.runner import IterBasedTrainLoop

from icd.errors import InputError
from icd.experiments.run import Run
from icd.files import sha256
from icd.training import train
from icd.training.kept import keep
from tests.lab import Lab
from tests.training.test_finished import refuse

pytestmark = pytest.mark.slow


class Kept:
    """A run that was trained elsewhere and is committed; here, each iteration is an error."""

    def __init__(self, lab: Lab, patch: pytest.MonkeyPatch) -> None:
        self.lab, self.run = lab, lab.run(method="icd")
        self.outputs = [lab.train(self.run) / file.name for file in self.run.outputs]
        self.hashes = self.content()
        keep(self.run)
        shutil.rmtree(self.run.folder)
        patch.setattr(IterBasedTrainLoop, "run_iter", refuse)

    def content(self) -> dict[Path, str]:
        return {file: sha256(file) for file in self.outputs}

    def train(self, reuse: bool = True) -> None:
        self.lab.write_description(self.run)
        options = train.Options(reuse=reuse)
        arguments = self.lab.data, self.lab.survey, self.run.manifest
        with self.lab.runner():
            train.train(self.run.folder, *arguments, options)


@pytest.fixture
def kept(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Kept:
    return Kept(lab, monkeypatch)


def test_kept_weights_are_not_trained_again(kept: Kept) -> None:
    kept.train()
    assert kept.content() == kept.hashes
    assert json.loads(kept.run.manifest.read_text())["run"] == kept.run.id


def test_without_reuse_they_are(kept: Kept) -> None:
    with pytest.raises(AssertionError, match="trained again"):
        kept.train(reuse=False)


@pytest.mark.parametrize(
    ("digits", "known"), [("0" * 64, r"000000000000\.\.\."), (None, "not stated")]
)
def test_weights_of_other_data_are_refused(kept: Kept, digits: str | None, known: str) -> None:
    manifest = kept.run.kept / "manifest.json"
    content = json.loads(manifest.read_text())
    content["inputs"]["annotations"] = digits
    if digits is None:
        del content["inputs"]["annotations"]
    manifest.write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"inputs.annotations: is {known}, but here"):
        kept.train()


@pytest.mark.parametrize("name", ["model.pth", "model.py"])
def test_incomplete_weights_are_refused(kept: Kept, name: str) -> None:
    (kept.run.kept / name).unlink()
    with pytest.raises(InputError, match=r"outputs: files are missing"):
        kept.train()
    assert not (kept.run.folder / "work/finished").exists()


def test_only_a_finished_run_is_kept(lab: Lab) -> None:
    run: Run = lab.run(method="icd")
    with pytest.raises(InputError, match=f"{run.id}: is not finished"):
        keep(run)
