"""Teachers that were trained elsewhere or come from the model zoo."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mmdet.registry import MODELS
from mmengine.config import Config

from icd.errors import InputError
from icd.experiments import zoo
from icd.experiments.run import TrainedRun
from icd.files import sha256
from tests.experiments.track_files import changed
from tests.lab import Lab, differing, weights

pytestmark = pytest.mark.slow

CAFFE: dict[str, Any] = {
    "mean": [103.53, 116.28, 123.675],
    "std": [1.0, 1.0, 1.0],
    "bgr_to_rgb": False,
}


def with_teacher(lab: Lab, **role: str) -> Lab:
    """The lab with a teacher from elsewhere."""
    return lab.stating(changed(lab.track.content.stated(), "roles.teacher", role))


@pytest.fixture
def with_imported_teacher(lab: Lab, teacher: TrainedRun) -> Lab:
    """A track whose teacher is a finished detector: the one that was trained."""
    folder = lab.folder(teacher)
    config, checkpoint = (str(folder / name) for name in ("model.py", "model.pth"))
    return with_teacher(lab, config=config, checkpoint=checkpoint)


@pytest.mark.parametrize("in_training", [False, True])
def test_a_teacher_from_elsewhere_is_taken_as_it_is(
    with_imported_teacher: Lab, teacher: TrainedRun, shared_lab: Lab, in_training: bool
) -> None:
    lab = with_imported_teacher
    if in_training:  # as mmengine saves it, with more than weights
        checkpoint = str(shared_lab.folder(teacher) / "work" / "iter_30.pth")
        lab = lab.changed({"roles": {"teacher": {"checkpoint": checkpoint}}})
    run = lab.imported_teacher()
    folder = lab.train(run)
    assert not differing(weights(folder), weights(lab.folder(teacher)))
    manifest = json.loads((folder / "manifest.json").read_text())
    checkpoint = sha256(Path(run.checkpoint))
    assert manifest["inputs"] == {
        "annotations": sha256(lab.track.annotations("train")),
        "checkpoint": checkpoint,
        "survey": sha256(lab.survey),
    }
    assert manifest["outputs"] == {"model.pth": sha256(folder / "model.pth")}
    assert lab.evaluate(run)["metrics"] == shared_lab.evaluate(teacher)["metrics"]
    lab.train(lab.run(method="icd", inherit=True))  # and it teaches


@pytest.fixture
def with_zoo_teacher(lab: Lab, teacher: TrainedRun, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A track whose teacher is in mmdet's model zoo, where the trained one was put."""
    folder, shelf = lab.folder(teacher), lab.project / "zoo"
    (shelf / "shapes").mkdir(parents=True)
    config = Config.fromfile(folder / "model.py")
    config.model.data_preprocessor.update(CAFFE)
    config.dump(shelf / "shapes" / "shapes.py")
    name = f"shapes_20261123-{sha256(folder / 'model.pth')[:8]}.pth"
    entry = {"Name": "shapes", "Config": "configs/shapes/shapes.py", "Weights": f"https://x/{name}"}
    (shelf / "shapes" / "metafile.yml").write_text(json.dumps({"Models": [entry]}))
    monkeypatch.setattr(zoo, "configs", lambda: shelf)
    monkeypatch.setattr("icd.training.base_config.configs", lambda: shelf)
    (lab.project / "weights").mkdir()
    shutil.copy(folder / "model.pth", lab.project / "weights" / name)
    return with_teacher(lab, zoo="shapes")


def test_a_teacher_of_the_zoo_keeps_its_own_preprocessing(
    with_zoo_teacher: Lab, teacher: TrainedRun
) -> None:
    lab = with_zoo_teacher
    run = lab.imported_teacher()
    folder = lab.train(run)
    assert not differing(weights(folder), weights(lab.folder(teacher)))
    found = Config.fromfile(folder / "model.py").model.data_preprocessor
    assert {key: found[key] for key in CAFFE} == CAFFE
    model = MODELS.build(lab.config(lab.run(method="icd")).model)
    ours, theirs = (
        d.data_preprocessor.mean.flatten() for d in (model.student, model.teacher.detector)
    )
    assert theirs.tolist() == pytest.approx(CAFFE["mean"])
    assert ours.tolist() == pytest.approx(CAFFE["mean"][::-1])
    assert model.renormalise.flip_channels
    lab.train(lab.run(method="icd"))


def test_other_weights_than_the_zoos_are_refused(with_zoo_teacher: Lab) -> None:
    lab = with_zoo_teacher
    run = lab.imported_teacher()
    file = lab.project / run.checkpoint
    file.write_bytes(file.read_bytes() + b" ")
    digits = run.sha256
    with pytest.raises(InputError, match=rf"{file.name}: contains other content .* with {digits}"):
        lab.train(run)
    assert not (lab.folder(run) / "model.pth").exists()


@pytest.mark.parametrize("key", ["config", "checkpoint"])
def test_a_teacher_from_elsewhere_must_exist(with_imported_teacher: Lab, key: str) -> None:
    lab = with_imported_teacher.changed({"roles": {"teacher": {key: "nowhere"}}})
    with pytest.raises(InputError, match=r"^nowhere: "):
        lab.train(lab.imported_teacher())


def with_classes(lab: Lab, file: Path, classes: list[str]) -> Lab:
    """The lab on data with these classes."""
    survey = json.loads(lab.survey.read_text())
    survey["classes"] = classes
    file.write_text(json.dumps(survey))
    return replace(lab, survey=file)


def test_a_teacher_of_other_classes_is_refused(with_imported_teacher: Lab, tmp_path: Path) -> None:
    classes = with_imported_teacher.inputs.survey["classes"]
    lab = with_classes(with_imported_teacher, tmp_path / "survey.json", [*classes, "spiral"])
    with pytest.raises(InputError, match=r"model\.pth: meta\..*classes: are 8 classes.*the 9 of"):
        lab.train(lab.imported_teacher())


@pytest.mark.parametrize("change", [{"method": "icd"}, {"inherit": True}, {"role": "teacher"}])
def test_a_teacher_whose_classes_have_another_order_is_refused(
    with_imported_teacher: Lab, lab: Lab, tmp_path: Path, change: dict[str, Any]
) -> None:
    """Whether it is imported or was trained on data that have changed since."""
    where = with_imported_teacher if "role" in change else lab
    lab = with_classes(where, tmp_path / "survey.json", where.inputs.survey["classes"][::-1])
    run = lab.track.describe(change, 0)
    with pytest.raises(InputError, match=r"model\.pth: meta\..*are the same classes in another"):
        lab.train(run)
    assert not (lab.folder(run) / "model.pth").exists()
