"""Loading and resuming never silently load nothing; logs give counts. Needs no network."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from pickle import UnpicklingError
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.logging import MMLogger
from mmengine.runner.checkpoint import CheckpointLoader, load_from_local
from torch import nn

from icd.errors import InputError
from icd.training.hooks.strict_resume import StrictResumeHook
from tests.lab import Lab, differing, snapshot
from tests.training.test_checkpoint import Command, save_code

RESNET = {"type": "ResNet", "depth": 18, "base_channels": 4}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What goes to the current log."""
    lines: list[str] = []
    monkeypatch.setattr("icd.training.loading.print_log", lambda text, logger: lines.append(text))
    return lines


def backbone(checkpoint: Any, prefix: str | None = None, **change: Any) -> Any:
    """A ResNet whose config wants pretrained weights."""
    init = {"type": "Pretrained", "checkpoint": str(checkpoint)} | (
        {"prefix": prefix} if prefix else {}
    )
    return MODELS.build(RESNET | change | {"init_cfg": init})


def trained() -> dict[str, torch.Tensor]:
    """The weights of another backbone of the same architecture."""
    torch.manual_seed(11)
    return {name: value + 1 for name, value in MODELS.build(RESNET).state_dict().items()}


@pytest.mark.parametrize("prefix", [None, "backbone", "backbone."])
def test_takes_over_what_fits_and_counts_it(
    file: Path, said: list[str], prefix: str | None
) -> None:
    theirs = trained()
    start = "backbone." if prefix else ""
    stored = {start + name: value for name, value in theirs.items()} | {"fc.bias": torch.ones(3)}
    torch.save({"state_dict": stored}, file)
    model = backbone(file, prefix)
    model.init_weights()
    assert not differing(theirs, snapshot(model))
    total = len(theirs) + (prefix is None)
    expected = (
        f"ResNet: {len(theirs)} of {len(theirs)} tensors initialised from {file}, which has {total}"
    )
    assert said == [expected]


def test_what_does_not_fit_keeps_its_own_initialisation(file: Path, said: list[str]) -> None:
    theirs = trained()
    torch.save(theirs, file)
    model = backbone(file, base_channels=8)
    model.init_weights()
    counts = [name for name in theirs if name.endswith("num_batches_tracked")]
    assert said[0].startswith(f"ResNet: {len(counts)} of {len(theirs)} tensors")


@pytest.mark.parametrize(
    ("stored", "prefix"),
    [
        ({"layers.0.weight": torch.ones(3)}, None),
        ({"conv1.weight": torch.ones(1, 3, 7, 7)}, None),  # a name that fits, not its shape
        ({"conv1.weight": torch.ones(4, 3, 7, 7)}, "backbone"),
    ],
)
def test_an_initialisation_from_nothing_is_refused(
    file: Path, stored: dict[str, torch.Tensor], prefix: str | None
) -> None:
    torch.save(stored, file)
    model = backbone(file, prefix)
    with pytest.raises(InputError, match="nothing in it fits the ResNet; expected weights"):
        model.init_weights()


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.pth: cannot be read"):
        backbone(tmp_path / "none.pth").init_weights()


@pytest.fixture
def shelf(file: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A name for ``file`` that mmengine looks up, like torchvision://resnet50."""

    def load(name: str, map_location: str) -> dict:
        return load_from_local(str(file), map_location)

    monkeypatch.setattr(CheckpointLoader, "_schemes", dict(CheckpointLoader._schemes))
    CheckpointLoader.register_scheme("shelf://", load)
    return "shelf://weights"


def test_names_are_left_to_mmengine(file: Path, said: list[str], shelf: str) -> None:
    theirs = trained()
    torch.save({"state_dict": theirs}, file)
    model = backbone(shelf)
    model.init_weights()
    assert not differing(theirs, snapshot(model))
    assert f"tensors initialised from {shelf}" in said[0]


@pytest.mark.parametrize("named", [True, False])
def test_code_is_not_executed(file: Path, tmp_path: Path, shelf: str, named: bool) -> None:
    """Of a name, mmengine would try it the unsafe way after a warning."""
    marker = tmp_path / "executed"
    save_code(Command(marker), file, "zip")
    with pytest.raises((InputError, UnpicklingError)):
        backbone(shelf if named else file).init_weights()
    assert not marker.exists()
    if named:
        load_from_local(str(file), "cpu")
        assert marker.exists()


def test_a_run_starts_from_pretrained_weights(lab: Lab, file: Path) -> None:
    """Through the runner, as the tracks with pretrained backbones do."""
    init = {"type": "Pretrained", "checkpoint": str(file)}
    lab = lab.changed({"backbones": {"resnet18-w8": {"backbone": {"init_cfg": init}}}})
    torch.save({"stranger": torch.ones(2)}, file)
    with pytest.raises(InputError, match="nothing in it fits the ResNet"):
        lab.train(lab.run())
    torch.save(trained(), file)
    logs = lab.train(lab.run()).glob("work/*/*.log")
    assert any("tensors initialised from" in log.read_text() for log in logs)


def resume(model: nn.Module, saved: dict[str, torch.Tensor]) -> None:
    logger = MMLogger.get_instance("test_loading")
    runner = SimpleNamespace(model=model, logger=logger, work_dir="a/work")
    StrictResumeHook().after_load_checkpoint(runner, {"state_dict": saved})


@pytest.mark.parametrize("change", ["missing", "added", "shape", "others"])
def test_resumes_only_the_same_model(change: str) -> None:
    model = nn.Linear(2, 3)
    saved = copy.deepcopy(model.state_dict())
    resume(model, saved)
    if change == "missing":
        del saved["bias"]
    elif change == "added":
        saved["also"] = torch.ones(1)
    elif change == "shape":
        saved["bias"] = torch.ones(4)
    else:
        saved = {"student.weight": torch.ones(3, 2)}
    with pytest.raises(InputError, match="differs between model and checkpoint"):
        resume(model, saved)


def test_a_run_does_not_resume_from_a_stranger(lab: Lab) -> None:
    run = lab.run()
    folder = lab.train(run)
    file = folder / "work" / "iter_6.pth"
    content = torch.load(file, weights_only=False)
    content["state_dict"] = {f"old.{name}": x for name, x in content["state_dict"].items()}
    torch.save(content, file)
    shutil.rmtree(folder / "work/finished")  # otherwise the finished run is restored
    with pytest.raises(InputError, match="differs between model and checkpoint"):
        lab.train(run)
