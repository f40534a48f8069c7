"""A decoder that is trained alone, and the students that start from it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from torch import Tensor

from icd.errors import InputError
from icd.experiments.run import DecoderRun, TrainedRun
from icd.files import sha256
from icd.training.accumulate import step
from icd.training.checkpoint import write_weights
from icd.training.hooks.decoder import WarmDecoderHook
from icd.training.precision import set_precision
from tests.lab import Lab, batch, differing, snapshot, weights

pytestmark = pytest.mark.slow

WARM: dict[str, Any] = {"warm": 4, "optimizer": {"lr": 1e-3}}
PARTS = ("encoder", "decoder", "auxiliary")  # of a method, known before any student


class CrashError(Exception):
    """What ends a training in the middle."""


@pytest.fixture
def student(lab: Lab) -> TrainedRun:
    return lab.run(method="icd", decoder=WARM)


@pytest.fixture
def decoder(student: TrainedRun) -> DecoderRun:
    assert student.decoder
    return student.decoder


def decoder_weights(folder: Path) -> dict[str, Tensor]:
    content: dict[str, Tensor] = torch.load(folder / "decoder.pth", weights_only=True)["state_dict"]
    return content


def test_a_decoder_is_trained_and_resumes_exactly(
    lab: Lab, decoder: DecoderRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lab.train(decoder)
    diagnosis = json.loads((folder / "decoder.json").read_text())
    assert {"layer1/recognised", "layer1/mistaken", "layer1/iou"} <= diagnosis["values"].keys()
    assert not any("student" in name for name in diagnosis["values"])
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["diagnosis"] == diagnosis
    teacher = lab.folder(decoder.teacher) / "model.pth"
    assert manifest["inputs"]["teacher"] == sha256(teacher)
    assert manifest["outputs"].keys() == {"decoder.pth", "decoder.json"}
    assert {name.split(".")[0] for name in decoder_weights(folder)} == {*PARTS}

    other = lab.at(tmp_path / "interrupted")
    other.place(decoder.teacher, lab)
    train_step = BaseModel.train_step

    def crash(model: BaseModel, data: dict, optim_wrapper: Any) -> dict[str, Tensor]:
        if optim_wrapper._inner_count == 3:
            raise CrashError
        return train_step(model, data, optim_wrapper)

    with monkeypatch.context() as patch:
        patch.setattr(BaseModel, "train_step", crash)
        with pytest.raises(CrashError):
            other.train(decoder, checkpoint_every=2)
    resumed = other.train(decoder, checkpoint_every=2)
    assert "resuming from" in "".join(log.read_text() for log in resumed.glob("work/*/*.log"))
    assert not differing(decoder_weights(resumed), decoder_weights(folder))
    assert (resumed / "decoder.json").read_text() == (folder / "decoder.json").read_text()


def test_only_the_decoder_is_trained(lab: Lab, decoder: DecoderRun) -> None:
    config = lab.config(decoder)
    model = MODELS.build(config.model)
    before, teacher = snapshot(model), snapshot(model.teacher.detector)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    for _ in range(2):
        log = model.train_step(copy.deepcopy(batch([2, 3])), wrapper)
    losses = [log[f"loss_{name}"] for name in ("identification", "localisation")]
    assert log["loss"].item() == pytest.approx(sum(loss.item() for loss in losses))
    moved = set(differing(before, snapshot(model)))
    idle = {name for name in before if name.startswith("method.student_values.")}
    assert idle
    assert not moved & idle
    assert {name.split(".")[1] for name in moved} == {*PARTS}
    assert not differing(teacher, snapshot(model.teacher.detector))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_batch_may_be_computed_in_parts_and_in_bfloat16(
    lab: Lab, decoder: DecoderRun, precision: str
) -> None:
    config = lab.config(decoder)
    model = MODELS.build(config.model)
    set_precision(model, precision, precision)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    log = step(model, copy.deepcopy(batch([2, 3])), wrapper, number=2)
    assert torch.isfinite(log["loss"])
    assert {value.dtype for value in snapshot(model).values()} == {torch.float32}
    kernel = model.teacher.detector.backbone.conv1.weight
    assert kernel.dtype == getattr(torch, precision)


def test_a_student_starts_from_the_decoder_unless_it_resumes(
    lab: Lab, student: TrainedRun, decoder: DecoderRun
) -> None:
    hooks = lab.config(student).custom_hooks
    (hook,) = (hook for hook in hooks if hook["type"] == "WarmDecoderHook")
    assert hook["checkpoint"] == str(decoder.weights)
    torch.manual_seed(3)
    trained, model = (MODELS.build(lab.config(student).model) for _ in range(2))
    file = lab.project / "decoder.pth"
    write_weights(file, trained.method.decoder_parts())
    before = snapshot(model)
    WarmDecoderHook(str(file)).before_train(SimpleNamespace(iter=1, model=model))  # type: ignore[arg-type]
    assert not differing(before, snapshot(model))
    WarmDecoderHook(str(file)).before_train(SimpleNamespace(iter=0, model=model))  # type: ignore[arg-type]
    moved = differing(before, snapshot(model))
    assert moved
    assert all(name.startswith(tuple(f"method.{p}." for p in PARTS)) for name in moved)
    parts = (one.method.decoder_parts().state_dict() for one in (trained, model))
    assert not differing(*parts)


def test_a_decoder_of_another_shape_is_refused(lab: Lab) -> None:
    one, two = (
        MODELS.build(lab.config(lab.run(method="icd", options={"layers": layers})).model)
        for layers in (1, 2)
    )
    file = lab.project / "decoder.pth"
    write_weights(file, one.method.decoder_parts())
    with pytest.raises(InputError, match=r"decoder\.layers\.1\.\S+: is missing"):
        WarmDecoderHook(str(file)).before_train(SimpleNamespace(iter=0, model=two))  # type: ignore[arg-type]


def test_a_student_records_the_decoder_that_it_starts_from(
    lab: Lab, student: TrainedRun, decoder: DecoderRun
) -> None:
    folder = lab.train(decoder)
    plain = lab.train(lab.run(method="icd"))
    started = lab.train(student)
    manifest = json.loads((started / "manifest.json").read_text())
    assert manifest["inputs"]["decoder"] == sha256(folder / "decoder.pth")
    assert differing(weights(plain), weights(started))
