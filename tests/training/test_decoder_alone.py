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

from icd.errors import InputError
from icd.experiments.run import DecoderRun, TrainedRun
from icd.files import sha256
from icd.methods.icd.method import ICD
from icd.training.decoder_alone import DecoderAlone
from icd.training.hooks.decoder import WarmDecoderHook
from tests.lab import Lab, batch, differing, snapshot, weights

pytestmark = pytest.mark.slow

WARM: dict[str, Any] = {"warm": 4, "optimizer": {"lr": 1e-3}}


def decoder_of(run: TrainedRun) -> DecoderRun:
    assert run.decoder
    return run.decoder


@pytest.fixture
def student(lab: Lab) -> TrainedRun:
    return lab.run(method="icd", decoder=WARM)


def decoder_weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "decoder.pth", weights_only=True)["state_dict"]


def test_a_student_starts_from_the_decoder(lab: Lab, student: TrainedRun) -> None:
    run = decoder_of(student)
    folder = lab.train(run)
    trained = decoder_weights(folder)
    recognition = json.loads((folder / "decoder.json").read_text())
    assert recognition["iterations"] == [3, 4]
    assert all(0 <= recognition[name] <= 1 for name in ("recognised", "mistaken", "iou"))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["decoder"] == recognition
    assert set(manifest["outputs"]) == {"decoder.pth", "decoder.json"}
    seen = []

    class Look(WarmDecoderHook):
        pass

    out = lab.train(student)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["inputs"]["decoder"] == sha256(folder / "decoder.pth")
