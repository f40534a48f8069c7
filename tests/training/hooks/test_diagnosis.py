"""Trainings are diagnosed at an interval, and are the same as without."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS

from icd.figures.measure_losses import logged
from icd.methods.icd.diagnosis import diagnose
from icd.training.diagnosis import summary, warnings
from icd.training.hooks.diagnosis import PREFIX, DiagnosisHook
from tests.lab import Lab, batch, differing, teacher_of, weights
from tests.training.test_train import CrashError, watch

LEVELS = ["stride8", "stride16", "stride32", "stride64", "stride128"]


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure in every other iteration."""
    monkeypatch.setattr("icd.training.train.LOG_EVERY", 2)


def diagnosis(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())["diagnosis"]


@pytest.mark.slow
@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("change", [{}, {"method": "icd"}, {"method": "cwd"}])
def test_weights_are_the_same_without(
    lab: Lab, tmp_path: Path, change: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, other = lab.run(**change), lab.at(tmp_path / "other")
    folder = lab.train(run)
    found = logged(folder / "work", PREFIX)
    assert list(found) == [2, 4, 6]
    assert len(diagnosis(folder)["values"]) >= 5
    if run.teacher:
        other.place(run.teacher, lab)
    monkeypatch.setattr(DiagnosisHook, "before_train_iter", lambda *_, **__: None)
    without = other.train(run)
    assert diagnosis(without)["values"] == {}
    for name in ("model.pth", *(["method.pth"] if run.distils else [])):
        states = [torch.load(own / name, weights_only=True) for own in (folder, without)]
        assert not differing(states[0]["state_dict"], states[1]["state_dict"])


@pytest.mark.slow
@pytest.mark.usefixtures("often")
def test_an_interruption_changes_no_number(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it with the state that scaled levels have."""
    run = lab.run(method="icd", options={"scale_levels": True})
    whole, other = lab.train(run), lab.at(tmp_path / "other")
    other.place(teacher_of(run), lab)
    with monkeypatch.context() as patch:
        watch(patch, crash_after=5)
        with pytest.raises(CrashError):
            other.train(run, checkpoint_every=2)
    resumed = other.train(run, checkpoint_every=2)
    assert diagnosis(resumed) == diagnosis(whole)
    assert logged(resumed / "work", PREFIX) == logged(whole / "work", PREFIX)
    assert not differing(weights(resumed), weights(whole))


def measured(model: Any, *batches: dict[str, Any]) -> dict[str, float]:
    """What the hook measures in an iteration of so many shares."""
    hook = DiagnosisHook(1)
    handles = list(hook.observe(model.train()))
    for data in batches:
        model(**model.data_preprocessor(copy.deepcopy(data), training=True), mode="loss")
    for handle in handles:
        handle.remove()
    return {name: value.item() for name, value in hook.found.items()}


def test_rms_of_all_levels_and_the_decoder(distiller: Any) -> None:
    seen: list[tuple[Any, ...]] = []
    distiller.method.register_forward_hook(lambda method, inputs, losses: seen.append(inputs))
    found = measured(distiller, batch([2, 0]), batch([1, 1]))  # of the first share alone
    (teacher, student, targets, iteration), _ = seen
    expected = diagnose(distiller.method, teacher, targets, iteration)
    for whose, levels in (("teacher", teacher), ("student", student)):
        for name, level in zip(LEVELS, levels, strict=True):
            expected[f"rms/{whose}/{name}"] = level.detach().double().square().mean().sqrt()
    assert found == pytest.approx({name: value.item() for name, value in expected.items()})


def test_a_method_that_asks_for_predictions(lab: Lab) -> None:
    """It receives one argument more than others."""
    model = MODELS.build(lab.config(lab.run(method="crosskd")).model)
    found = measured(model, batch([2, 0]))
    assert list(found) == [f"rms/{who}/{one}" for who in ("teacher", "student") for one in LEVELS]


def test_a_detector_without_a_teacher(lab: Lab) -> None:
    model = MODELS.build(lab.config(lab.run()).model)
    assert list(measured(model, batch([1]))) == [f"rms/student/{level}" for level in LEVELS]


def test_a_summary_has_the_last_measurements_and_the_mean_over_heads() -> None:
    histories = {
        "tokens": [341.0, 341.0, 341.0],
        "layer1/recognised": [0.0, 0.5, 0.7],
        "layer1/head1/inside": [0.0, 0.2, 0.4],
        "layer1/head2/inside": [0.0, 0.6, 0.6],
        "rms/teacher/stride8": [9.0, 1 / 3, 1 / 3],
    }
    assert summary(histories, 2) == {
        "measurements": 2,
        "values": {
            "tokens": 341,
            "layer1/recognised": 0.6,
            "layer1/inside": 0.45,
            "rms/teacher/stride8": 0.3333,
        },
    }
    assert summary({}, 2) == {"measurements": 0, "values": {}}


def rms(*values: float) -> dict[str, float]:
    return {f"rms/teacher/{name}": value for name, value in zip(LEVELS, values, strict=False)}


def test_warns_of_a_level_of_another_magnitude() -> None:
    """The teacher of mini before its pyramid had norms; pyramids of COCO do not differ so much."""
    (text,) = warnings(rms(10.5, 6.8, 3.7, 16, 60)).values()
    assert text.startswith(
        "the RMS of the teacher's level stride128 is 60, the median of its other"
    )
    assert list(warnings(rms(1, 1, 1, 0.1, 1))) == ["rms/teacher/stride64"]
    assert not warnings(rms(1, 2, 3, 4, 4.9))
    assert not warnings(rms(1))
    assert not warnings(rms(1, 1) | {"rms/student/stride8": 100.0})


def test_warns_of_attention_that_has_collapsed() -> None:
    values = {"layer1/effective": 0.099, "layer2/effective": 0.1, "layer1/largest": 0.01}
    (text,) = warnings(values).values()
    assert text.startswith("the attention of layer1 has collapsed: 9.9 %")
