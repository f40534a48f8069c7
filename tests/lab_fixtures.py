"""Fixtures of tests that train: a small track and, trained once, its teacher."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from icd.experiments.run import Run
from icd.experiments.track import load_track
from icd.training import train  # noqa: F401  (registers all that configs name)
from icd.training.distiller import Distiller
from tests.lab import Lab, make


@pytest.fixture
def mmdet_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names in configs are mmdet's; results are compared to the bit, so no GPU is used."""
    init_default_scope("mmdet")
    monkeypatch.setattr("mmengine.device.utils.DEVICE", "cpu")


@pytest.fixture(scope="session")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab for the whole session; a test that leaves something behind takes ``lab``."""
    return make(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="session")
def teacher(shared_lab: Lab) -> Run:
    """The track's teacher, trained in the shared lab."""
    run = shared_lab.run(role="teacher")
    shared_lab.train(run)
    return run


@pytest.fixture
def lab(shared_lab: Lab, teacher: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The lab in a fresh folder, the current one, that holds the trained teacher alone."""
    lab = shared_lab.at(tmp_path)
    lab.place(teacher, shared_lab)
    monkeypatch.chdir(tmp_path)
    return lab


@pytest.fixture
def distiller(lab: Lab) -> Distiller:
    """A Distiller as a run of ICD builds it."""
    return MODELS.build(lab.config(lab.run(method="icd")).model)


@pytest.fixture
def mini(lab: Lab) -> Lab:
    """The mini track as it is shipped."""
    return replace(lab, track=load_track("mini", data_root=lab.data))


@pytest.fixture
def coco(lab: Lab) -> Lab:
    """The track of COCO 2017 with a survey of as many classes."""
    return of_classes(lab, "coco", 80)


def of_classes(lab: Lab, name: str, count: int) -> Lab:
    """A shipped track with a survey of so many classes."""
    survey = lab.project / f"{name}.json"
    classes = [f"class {i}" for i in range(count)]
    priors = {
        "frequency": [1 / count] * count,
        "size_mean": [[0.2] * 2] * count,
        "size_std": [[0.1] * 2] * count,
    }
    survey.write_text(json.dumps({"classes": classes, "priors": priors}))
    return replace(lab, track=load_track(name, data_root=lab.data), survey=survey)
