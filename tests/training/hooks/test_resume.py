"""Which checkpoint a training resumes from, and why others are rejected."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from icd.training.hooks.resume import ResumePoint, checkpoints, resume_point
from tests.lab import Lab, differing, weights
from tests.training.test_checkpoint import Command, save_code

pytestmark = pytest.mark.slow

RUN = "a-run"


def write(work: Path, iteration: int, run: str | None = RUN, said: int | None = None) -> Path:
    """A checkpoint as far as its verification looks at it."""
    file = work / f"iter_{iteration}.pth"
    meta = {"iter": said or iteration} | ({"run": run} if run else {})
    torch.save({"meta": meta, "state_dict": {"a": torch.arange(9.0)}}, file)
    return file


def flip(file: Path) -> None:
    """Change one bit of a tensor, which PyTorch does not notice."""
    with zipfile.ZipFile(file) as archive:
        (entry,) = (info for info in archive.infolist() if "/data/" in info.filename)
    content = file.read_bytes()
    place = content.index(torch.arange(9.0).numpy().tobytes(), entry.header_offset)
    file.write_bytes(content[: place + 5] + bytes([content[place + 5] ^ 1]) + content[place + 6 :])
    torch.load(file, weights_only=True)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut off": (
        lambda file: os.truncate(file, file.stat().st_size // 2),
        "is not a complete checkpoint",
    ),
    "empty": (lambda file: file.write_bytes(b""), "is not a complete checkpoint"),
    "a web page": (lambda file: file.write_text("<!DOCTYPE html>"), "is not a complete checkpoint"),
    "one bit": (flip, "is damaged (in"),
    "of another run": (lambda file: write(file.parent, 6, "b-run"), "is of another run (b-run)"),
    "from elsewhere": (lambda file: write(file.parent, 6, None), "is of another run (None)"),
    "renamed": (lambda file: write(file.parent, 6, said=4), "is of iteration 4"),
    "no checkpoint": (lambda file: torch.save([1], file), "is not a checkpoint of plain data"),
}


@pytest.mark.parametrize(("damage", "why"), DAMAGE.values(), ids=DAMAGE)
def test_the_one_before_a_bad_checkpoint_is_used(
    tmp_path: Path, damage: Callable[[Path], object], why: str
) -> None:
    good, bad = write(tmp_path, 4), write(tmp_path, 6)
    assert resume_point(tmp_path, RUN) == ResumePoint(bad, {})
    damage(bad)
    found = resume_point(tmp_path, RUN)
    assert found.file == good
    assert list(found.refused) == [bad]
    assert found.refused[bad].startswith(why)


def test_code_in_a_checkpoint_is_not_executed(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    save_code(Command(marker), tmp_path / "iter_8.pth", "zip")
    assert resume_point(tmp_path, RUN).file is None
    assert not marker.exists()


def test_the_newest_is_that_of_the_highest_iteration(tmp_path: Path) -> None:
    for iteration in (1000, 9, 200):
        write(tmp_path, iteration)
    assert [file.name for file in checkpoints(tmp_path)] == [
        "iter_9.pth",
        "iter_200.pth",
        "iter_1000.pth",
    ]
    assert resume_point(tmp_path / "nowhere", RUN) == ResumePoint(None, {})


@pytest.mark.parametrize("spoiled", [1, 2])
def test_a_training_says_what_it_does_without_and_ends_the_same(lab: Lab, spoiled: int) -> None:
    run = lab.run()
    folder = lab.train(run, checkpoint_every=2)
    whole, files = weights(folder), checkpoints(folder / "work")
    assert [file.name for file in files] == ["iter_4.pth", "iter_6.pth"]
    for file in files[-spoiled:]:
        os.truncate(file, 1000)
    (folder / "model.pth").unlink()
    shutil.rmtree(folder / "work/finished")  # otherwise the finished run is restored
    lab.train(run, checkpoint_every=2)
    log = max(folder.glob("work/*/*.log")).read_text()
    assert "iter_6.pth is not a complete checkpoint" in log
    assert "not used, kept as iter_6.pth.refused" in log
    assert ("training starts from the beginning" in log) == (spoiled == 2)
    assert (f"resuming from {run.folder / 'work/iter_4.pth'}" in log) == (spoiled == 1)
    assert not differing(weights(folder), whole)
