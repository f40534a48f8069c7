"""Training on a real GPU: steps of every detector and method, whole runs, resuming, two GPUs.

On the CPU, some of the same tests make sure that their own code works.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from icd.experiments.yaml_files import ROOT
from icd.training import config
from icd.training.precision import use_bfloat16
from tests.devices import DEVICES, ON_GPU
from tests.lab import DETECTORS, Lab, batch, suits, teacher_of, weights
from tests.training.test_train import CrashError, watch

pytestmark = pytest.mark.slow

METHODS = ("icd", "fitnet", "cwd", "pkd", "mgd", "fgd", "crosskd", "bckd", "ld")
SMALL: dict[str, Any] = {"backbone": "resnet18", "teacher": {"backbone": "resnet18"}}
STEPS = [
    pytest.param(device, *case, marks=ON_GPU if device == "cuda" else [])
    for device in ("cpu", "cuda")
    for case in itertools.product(DETECTORS, METHODS, (False, True))
    if suits(case[1], case[0])
    and (device == "cuda" or case in (("retinanet", "mgd", False), ("fcos", "crosskd", True)))
]


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Chooses the device on which mmengine trains."""
    init_default_scope("mmdet")
    return lambda device: monkeypatch.setattr("mmengine.device.utils.DEVICE", device)


@pytest.mark.parametrize(("device", "detector", "method", "bfloat16"), STEPS)
def test_a_step_of_each_detector_with_each_method(
    device: str,
    detector: str,
    method: str,
    bfloat16: bool,
    coco: Lab,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The coco track's models on small images, with both optimisers and their clipping."""
    run = coco.run(detector=detector, method=method, **SMALL)
    folder = coco.folder(teacher_of(run))
    folder.mkdir(parents=True)
    config.plain_config(teacher_of(run), coco.inputs).dump(folder / "model.py")
    monkeypatch.setattr("icd.training.distiller.load_weights", lambda *_: None)
    settings = coco.config(run)
    model = MODELS.build(settings.model).to(device).train()
    if bfloat16:
        use_bfloat16(model)
    wrapper = build_optim_wrapper(model, settings.optim_wrapper)
    model.iteration = 1000  # past the warm-up
    log = model.train_step(batch([3, 0], [(128, 128), (96, 128)], masks=True), wrapper)
    assert all(torch.isfinite(value) for value in log.values())
    assert {value.device.type for value in log.values()} == {device}
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", ["icd", "mgd"])
def test_a_resumed_run_ends_as_one_that_was_not_stopped(
    device: str, method: str, lab: Lab, tmp_path: Path, on: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to rounding: a GPU adds up in no fixed order."""
    on(device)
    run = lab.run(method=method)
    whole = weights(lab.train(run, checkpoint_every=3))
    half = torch.load(lab.folder(run) / "work/iter_3.pth", weights_only=False)["state_dict"]
    other = lab.at(tmp_path / "other")
    other.place(teacher_of(run), lab)
    with monkeypatch.context() as patch:
        watch(patch, crash_after=5)
        with pytest.raises(CrashError):
            other.train(run, checkpoint_every=3)
    resumed = weights(other.train(run, checkpoint_every=3))
    learnt = distance(whole, {name: half[f"student.{name}"] for name in whole})
    assert learnt > 0
    assert distance(resumed, whole) <= (0.01 * learnt if device == "cuda" else 0)


def distance(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    """Between the weights of two detectors."""
    squares = [(first[n].double().cpu() - second[n].double().cpu()).square().sum() for n in first]
    return torch.stack(squares).sum().sqrt().item()


@pytest.mark.parametrize("device", DEVICES)
def test_an_exported_detector_loads_on_the_cpu(device: str, lab: Lab, on: Any) -> None:
    on(device)
    run = lab.run(method="icd")
    folder = lab.train(run)
    for name in ("model.pth", "method.pth"):
        state = torch.load(folder / name, weights_only=True)["state_dict"]
        assert {value.device.type for value in state.values()} == {"cpu"}
    on("cpu")
    assert lab.evaluate(run)["metrics"]


@pytest.mark.gpu
@pytest.mark.skipif("torch.cuda.device_count() < 2", reason="needs two GPUs")
def test_two_gpus_train_a_run_together(lab: Lab) -> None:
    """With NCCL, from the command line to the manifest."""
    two = lab.changed({"machine": {"gpus": 2}})
    run = two.run(method="icd", inherit=True)
    two.place_untrained(teacher_of(run))
    two.write_description(run)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    arguments = ["--data", str(two.data), "--survey", str(two.survey), "--manifest", "m.json"]
    subprocess.run(
        [*launcher, "-m", "icd", "train", str(run.folder), *arguments],
        cwd=two.project,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=300,
        check=True,
    )
    assert json.loads((two.project / "m.json").read_text())["run"] == run.id
    assert all(value.isfinite().all() for value in weights(two.folder(run)).values())
