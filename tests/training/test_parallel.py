"""Several processes train a run as one process would on the whole batch."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from icd.errors import InputError
from icd.experiments.run import TrainedRun
from icd.experiments.yaml_files import ROOT
from icd.methods.icd.method import ICD
from icd.methods.tokens import Targets
from icd.training import parallel
from tests.lab import Lab, batch, differing, teacher_of, weights
from tests.training.two_processes import freeze_norms, losses_and_gradients

pytestmark = pytest.mark.slow

OBJECTS = [3, 1, 0, 2]  # of two images in each process; their numbers of objects differ


def torchrun(*command: str, cwd: Path | None = None, fails: bool = False) -> str:
    """TrainedRun a command in two processes; what they print. ``fails``: they must not succeed."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    search = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    result = subprocess.run(
        [*launcher, "--nproc-per-node", "2", *command],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": search, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert (result.returncode != 0) == fails, result.stdout
    return result.stdout


def as_shares_draw(method: ICD, monkeypatch: pytest.MonkeyPatch, shares: int) -> None:
    """Let one process pose the fakes that so many shares would, each for its part of the images."""
    draw = method.draw

    def all_shares(targets: Targets, iteration: int) -> list:
        draws, images = [], len(targets.boxes) // shares
        for share in range(shares):
            with monkeypatch.context() as patch:
                patch.setattr("icd.methods.icd.method.share_index", lambda share=share: share)
                own = slice(images * share, images * (share + 1))
                draws += draw(replace(targets, boxes=targets.boxes[own]), 0)
        return draws

    monkeypatch.setattr(method, "draw", all_shares)


def compare(found: dict, expected: dict, case: str, atol: float = 2e-5) -> None:
    """Losses and gradients, up to rounding."""
    assert found["losses"].keys() == expected["losses"].keys()
    assert len(expected["losses"]) >= 5
    for name, loss in expected["losses"].items():
        one = found["losses"][name]
        torch.testing.assert_close(one, loss, rtol=1e-5, atol=1e-6, msg=f"{case} {name}")
    assert found["gradients"].keys() == expected["gradients"].keys()
    for name, gradient in expected["gradients"].items():
        one, scale = found["gradients"][name], gradient.abs().max() + 1e-3
        torch.testing.assert_close(
            one / scale, gradient / scale, rtol=0, atol=atol, msg=f"{case} {name}"
        )


def test_two_processes_compute_what_one_does_with_both_batches(
    lab: Lab, mini: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if each of them computes its images one by one."""
    models, data = {}, batch(OBJECTS, [(64, 64)] * 4)
    for detector, method in (("retinanet", "icd"), ("fcos", "icd"), ("fcos", "crosskd")):
        run = lab.run(method=method, detector=detector)
        lab.place_untrained(teacher_of(run))
        for accumulate in (1, 2):
            torch.manual_seed(3)
            model = MODELS.build(lab.config(run).model)
            name = f"{detector}-{method}-{accumulate}"
            models[name] = (model, 2 * accumulate)
            case = {"model": model, "data": data, "accumulate": accumulate}
            torch.save(case, tmp_path / f"{name}.case")
    idle = idle_in_one_process(mini)
    torch.save(idle, tmp_path / "condinst.case")
    torchrun(str(Path(__file__).with_name("two_processes.py")), str(tmp_path))
    check_idle(idle["model"], [torch.load(tmp_path / f"condinst.{rank}") for rank in range(2)])
    for name, (model, shares) in models.items():
        if isinstance(model.method, ICD):
            as_shares_draw(model.method, monkeypatch, shares)
        whole = losses_and_gradients(freeze_norms(model.train()), copy.deepcopy(data))
        halves = [torch.load(tmp_path / f"{name}.{rank}") for rank in range(2)]
        first, second = (half["losses"] for half in halves)
        mean = {key: (loss + second[key]) / 2 for key, loss in first.items()}
        for half in halves:
            compare(half | {"losses": mean}, whole, name)


def idle_in_one_process(mini: Lab) -> dict[str, Any]:
    """CondInst with four images, whose mask branch is idle for the last two: no objects."""
    torch.manual_seed(3)
    model = MODELS.build(mini.config(mini.run(detector="condinst")).model)
    return {"model": model, "data": batch([3, 2, 0, 0], [(64, 64)] * 4, masks=True)}


def check_idle(model: Any, halves: list[dict]) -> None:
    """Processes average the gradients of the branch that only one of them uses."""
    named = {name for name, _ in model.named_parameters() if name.startswith("mask_head")}
    assert named
    for name in named:
        first, second = (half["gradients"][name] for half in halves)
        assert first.any()
        assert torch.equal(first, second)


def command(lab: Lab, run: TrainedRun) -> list[str]:
    """The arguments of ``python -m icd`` that train a run."""
    return [
        *("train", str(run.folder), "--data", str(lab.data)),
        *("--survey", str(lab.survey), "--manifest", "manifest.json"),
    ]


@pytest.fixture(scope="module")
def whole(shared_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, TrainedRun]:
    """A run that two processes have trained, with both optimisers and no parameter idle."""
    init_default_scope("mmdet")
    lab = shared_lab.changed({"machine": {"gpus": 2}}).at(tmp_path_factory.mktemp("whole"))
    run = lab.run(method="icd", inherit=True)
    lab.place_untrained(teacher_of(run))
    lab.write_description(run)
    torchrun("-m", "icd", *command(lab, run), cwd=lab.project)
    return lab, run


def test_a_run_in_two_processes_leaves_one_outcome(whole: tuple[Lab, TrainedRun]) -> None:
    """From the command line to the manifest."""
    lab, run = whole
    manifest = json.loads((lab.project / "manifest.json").read_text())
    assert manifest["run"] == run.id
    config = json.loads((lab.folder(run) / "config.json").read_text())
    assert config["launcher"] == "pytorch"
    assert config["train_dataloader"]["batch_size"] == 1
    assert weights(lab.folder(run))
    assert (lab.folder(run) / "method.pth").exists()
    assert not (lab.folder(run) / "failed.json").exists()


def test_if_one_process_is_asked_to_stop_all_do_and_go_on_later(
    whole: tuple[Lab, TrainedRun], tmp_path: Path
) -> None:
    """After the same iteration, with the state that follows it, and with the same outcome."""
    lab, run = whole
    stopped = lab.at(tmp_path)
    stopped.place(teacher_of(run), lab)
    stopped.write_description(run)
    script = str(Path(__file__).with_name("asked_to_stop.py"))
    printed = torchrun(script, *command(lab, run), cwd=tmp_path, fails=True)
    assert printed.count("interrupted by SIGTERM after 3 of 6 iterations; state saved in") == 1
    assert [file.name for file in stopped.folder(run).glob("work/*.pth")] == ["iter_3.pth"]
    torchrun("-m", "icd", *command(lab, run), cwd=tmp_path)
    assert not differing(weights(stopped.folder(run)), weights(lab.folder(run)))


def test_as_many_processes_as_the_run_was_described_with(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = lab.changed({"machine": {"gpus": 2}}).run()
    with pytest.raises(InputError, match="devices: is 2, but 1 processes train"):
        parallel.join(run)
