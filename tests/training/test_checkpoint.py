"""Reading weights executes no code, and errors name what does not fit."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.hooks import EMAHook
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from icd.errors import InputError
from icd.experiments.run import TrainedRun
from icd.training.checkpoint import load_weights, read_weights
from tests.lab import Lab, differing, snapshot


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


def model(width: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))


def content(**changes: object) -> dict:
    return {
        "meta": {"epoch": 12, "names": ["a", "b"]},
        "state_dict": model().state_dict(),
    } | changes


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("bare", [True, False])
def test_reads_what_others_save(file: Path, zipped: bool, bare: bool) -> None:
    """With and without mmengine's frame, in PyTorch's format of today and that of before 1.6."""
    saved = content()
    torch.save(saved["state_dict"] if bare else saved, file, _use_new_zipfile_serialization=zipped)
    assert not differing(read_weights(file), saved["state_dict"])
    other = model()
    load_weights(other, file)
    assert not differing(other.state_dict(), saved["state_dict"])


def refuse(file: Path, message: str) -> InputError:
    with pytest.raises(InputError, match=re.escape(f"{file}{message}")) as raised:
        read_weights(file)
    return raised.value


def test_missing(file: Path) -> None:
    error = refuse(file, ": cannot be read (No such file or directory)")
    assert error.expected == "a PyTorch checkpoint of tensors and plain data"


def test_folder(tmp_path: Path) -> None:
    refuse(tmp_path, ": cannot be read (Is a directory)")


@pytest.mark.parametrize("zipped", [True, False])
def test_truncated(file: Path, zipped: bool) -> None:
    """As after a download that broke off, wherever it did."""
    torch.save(content(), file, _use_new_zipfile_serialization=zipped)
    whole = file.read_bytes()
    for length in range(0, len(whole) - 1, len(whole) // 25):
        file.write_bytes(whole[:length])
        refuse(file, ": is damaged or not a checkpoint")


@pytest.mark.parametrize(
    "text",
    [
        b"<!DOCTYPE html><html><body>Moved Permanently</body></html>",
        b"hello",
        b"Not Found",
        b'{"message": "API rate limit exceeded"}',
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        bytes(range(256)),
        b"PK\x03\x04 no archive",
    ],
)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_something_else(file: Path, text: bytes) -> None:
    file.write_bytes(text)
    error = refuse(file, ": is damaged or not a checkpoint")
    assert "weights_only" not in str(error)  # PyTorch's advice is to load it without care


class Command:
    """Pickled, it is an instruction to touch a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.marker}",)


def save_code(code: Command, file: Path, how: str) -> None:
    if how == "pickle":
        file.write_bytes(pickle.dumps(code, protocol=2))
    else:
        torch.save(content(hidden=code), file, _use_new_zipfile_serialization=how == "zip")


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_code_is_not_executed(file: Path, tmp_path: Path, how: str) -> None:
    marker = tmp_path / "executed"
    save_code(Command(marker), file, how)
    refuse(file, f": holds {os.system.__module__}.system, which is not plain data")
    assert not marker.exists()
    load = pickle.load if how == "pickle" else lambda f: torch.load(f, weights_only=False)
    with file.open("rb") as stream:
        load(stream)
    assert marker.exists()  # it would have been


def test_objects_are_named(file: Path) -> None:
    torch.save(content(place=PurePosixPath("a")), file)
    refuse(file, ": holds pathlib.PurePosixPath, which is not plain data")


@pytest.mark.parametrize("by_epoch", [True, False])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_training_in_progress(tmp_path: Path, by_epoch: bool, zipped: bool) -> None:
    """What mmengine's Runner saves: with the history of its losses, as objects."""
    file, trained = train_with_mmengine(tmp_path, by_epoch)
    with pytest.raises(pickle.UnpicklingError, match="GLOBAL"):
        torch.load(file, weights_only=True)
    if not zipped:
        torch.save(torch.load(file, weights_only=False), file, _use_new_zipfile_serialization=False)
    assert not differing(read_weights(file), trained)


def train_with_mmengine(work: Path, by_epoch: bool) -> tuple[Path, dict[str, torch.Tensor]]:
    """Train two steps with an average of the weights; the checkpoint, and what it averages to."""
    length = 1 if by_epoch else 2
    runner = Runner(
        model=Regression(),
        work_dir=str(work),
        train_dataloader={
            "dataset": [{"inputs": torch.ones(2)}] * 2,
            "sampler": {"type": "DefaultSampler", "shuffle": False},
            "batch_size": 1,
        },
        train_cfg={"by_epoch": by_epoch, "max_epochs" if by_epoch else "max_iters": length},
        optim_wrapper={"optimizer": {"type": "AdamW", "lr": 0.1}},
        param_scheduler={"type": "MultiStepLR", "milestones": [1], "by_epoch": by_epoch},
        default_hooks={"checkpoint": {"type": "CheckpointHook", "by_epoch": by_epoch}},
        custom_hooks=[{"type": "EMAHook"}],
        default_scope="mmengine",
        experiment_name=f"test-{work.name}",
    )
    runner.train()
    (average,) = (hook for hook in runner.hooks if isinstance(hook, EMAHook))
    name = f"{'epoch' if by_epoch else 'iter'}_{length}.pth"
    return work / name, snapshot(average.ema_model.module)


class Regression(BaseModel):
    """Learns that the sum of its output is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, inputs: torch.Tensor, mode: str = "tensor") -> dict[str, torch.Tensor]:
        return {"loss": self.layer(inputs[0]).square().sum()}


def test_getattr_reaches_no_code(file: Path, tmp_path: Path) -> None:
    """A file that may name getattr could otherwise reach everything from a harmless class."""
    marker = tmp_path / "executed"
    torch.save(content(hidden=Reached(marker)), file)
    refuse(file, ": is damaged or not a checkpoint")
    assert not marker.exists()
    torch.load(file, weights_only=False)
    assert marker.exists()  # it would have been


class Reached:
    """Pickled, it makes a file with nothing but classes that a checkpoint may name."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Calling(np.ones(1), "tofile"), (str(self.marker),)


class Calling:
    """A method of an object, named by getattr when it is read."""

    def __init__(self, thing: object, name: str) -> None:
        self.thing, self.name = thing, name

    def __call__(self, *arguments: object) -> None: ...

    def __reduce__(self) -> tuple:
        return getattr, (self.thing, self.name)


@pytest.mark.parametrize(
    "wrong", [[1, 2], {}, {"state_dict": {}}, {"state_dict": {"a": 1}}, {"epoch": 3}, torch.ones(2)]
)
def test_without_weights(file: Path, wrong: object) -> None:
    torch.save(wrong, file)
    refuse(file, ": state_dict: holds no weights; expected a PyTorch checkpoint")


def test_other_shapes(file: Path) -> None:
    torch.save(content(), file)
    with pytest.raises(InputError) as raised:
        load_weights(model(width=5), file)
    error = raised.value
    assert (error.where, error.key) == (str(file), "0.bias")
    assert error.problem == "has shape (3,) (6 tensors differ)"
    assert error.expected.startswith("(5,), as the config and the number of classes")


def test_missing_weights(file: Path) -> None:
    state = model().state_dict()
    del state["0.weight"], state["1.running_mean"]
    torch.save(state, file)
    with pytest.raises(InputError, match=re.escape(f"{file}: 0.weight: is missing (2 tensors)")):
        load_weights(model(), file)


@pytest.mark.parametrize(
    ("prefix", "remedy"),
    [
        ("student.", "the model.pth of that run: this is a checkpoint of its distillation"),
        ("module.", "names without the 'module.' of a data-parallel wrapper"),
        ("other.", "weights of this config"),
    ],
)
def test_nothing_that_fits(file: Path, prefix: str, remedy: str) -> None:
    state = {f"{prefix}{name}": value for name, value in model().state_dict().items()}
    torch.save({"state_dict": state}, file)
    with pytest.raises(InputError) as raised:
        load_weights(model(), file)
    error = raised.value
    assert (error.where, error.key) == (str(file), "state_dict")
    assert error.problem == f"none of its 7 tensors fits, such as {prefix}0.bias"
    assert error.expected == remedy


def test_what_was_loaded_is_logged(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MMLogger, "_instance_dict", {})  # a new one, which knows the new stdout
    torch.save(content(), file)
    load_weights(model(), file)
    assert f"loaded all 7 tensors of {file}" in capsys.readouterr().out


def test_weights_too_many(file: Path) -> None:
    state = {name: value + 1 for name, value in model().state_dict().items()}
    torch.save(state | {"2.weight": torch.ones(1)}, file)
    target = model()
    before = snapshot(target)
    problem = "2.weight: is not part of the model (1 tensors)"
    with pytest.raises(InputError, match=re.escape(f"{file}: {problem}")):
        load_weights(target, file)
    assert not differing(before, snapshot(target))  # nothing of the rest was loaded either


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"bbox_head": {"num_classes": 9}}, "bbox_head.retina_cls.bias"),
        (
            {"backbone": {"base_channels": 4}, "neck": {"in_channels": [4, 8, 16, 32]}},
            "backbone.bn1",
        ),
        ({"backbone": {"depth": 34}}, "backbone.layer1.2"),
    ],
)
def test_a_detector_of_another_config(
    lab: Lab, teacher: TrainedRun, change: dict, key: str
) -> None:
    config = lab.config(lab.run(role="teacher"))
    config.merge_from_dict({"model": change})
    file = lab.folder(teacher) / "model.pth"
    with pytest.raises(InputError, match=re.escape(f"{file}: {key}")):
        load_weights(MODELS.build(config.model), file)
