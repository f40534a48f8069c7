"""What nothing needs is listed, and deleted only if asked for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from icd.__main__ import main
from icd.data.made import write_made
from icd.experiments.run import Run
from icd.experiments.track import Track
from icd.files import sha256
from icd.process.failures import KILLED
from icd.training.finished import is_finished
from icd.upkeep.items import Item, megabytes
from icd.upkeep.states import state_of
from tests.lab import Lab
from tests.upkeep.conftest import fail, finish, stop, write


def tree() -> dict[Path, str]:
    """All files below the current folder with their hashes."""
    return {file: sha256(file) for file in Path().rglob("*") if file.is_file()}


def clean(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(["clean", *arguments]) == 0
    return capsys.readouterr().out


def test_nothing_is_deleted_unless_asked_for(
    runs: list[Run], capsys: pytest.CaptureFixture[str]
) -> None:
    finish(runs[0])
    before = tree()
    printed = clean(capsys)
    assert tree() == before
    assert re.search(rf"4\.0 MB  \S+{re.escape(runs[0].id)}[/]work/iter_\d+\.pth\n", printed)
    assert printed.endswith(
        "4.0 MB can be freed. Nothing was deleted; --delete deletes all of this.\n"
    )


def test_checkpoints_of_finished_runs_go_and_the_rest_stays(
    runs: list[Run], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, other = finish(runs[0], ap=0.5), stop(runs[1])
    measured, unmeasured = (write(folder / f"work/snapshots/iter_{i}.pth") for i in (100, 200))
    write(folder / "steps/100.json")
    write(folder / "work/iter_50.pth.refused")
    before = tree()
    printed = clean(capsys, "--delete")
    gone = before.keys() - tree().keys()
    checkpoint = folder / f"work/iter_{runs[0].iterations}.pth"
    assert gone == {checkpoint, measured, folder / "work/iter_50.pth.refused"}
    assert unmeasured.exists()
    assert (other / "work/iter_100.pth").exists()
    assert printed.endswith("4.0 MB are freed.\n")
    assert state_of(runs[0]).state == "finished"
    assert clean(capsys) == "There is nothing to delete.\n"


def test_runs_in_no_table_go_whole(
    track: Track, runs: list[Run], capsys: pytest.CaptureFixture[str]
) -> None:
    unneeded = track.describe({"role": "student", "schedule": "9x"}, 0)
    finish(runs[0]), finish(unneeded)
    write(unneeded.manifest)
    assert "4.0 MB" in clean(capsys, "--only", "checkpoints")
    printed = clean(capsys, "--only", "runs", "--delete")
    size = 4.0 + 2.0 * len(unneeded.outputs)  # each output has two names, but one place
    assert f"{size:.1f} MB  {unneeded.folder} (deleted)" in printed
    assert not unneeded.folder.exists()
    assert unneeded.manifest.exists(), "of committed results"
    assert (runs[0].folder / f"work/iter_{runs[0].iterations}.pth").exists()


def test_a_run_that_may_be_running_stays(
    track: Track, running: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = track.describe({"role": "student", "schedule": "9x"}, 0)
    finish(elsewhere)
    fail(elsewhere, KILLED, "test")
    stale = write(Path("data/tiny-0123456789/train-6/0.png"))
    # The table of the running run is gone.
    content = yaml.safe_load(Path("tiny.yaml").read_text())
    content["recipe"]["unit"] = 77
    Path("tiny.yaml").write_text(yaml.safe_dump(content))
    before = tree()
    printed = clean(capsys, "--delete")
    assert tree() == before
    assert "tiny: 2 runs may be running, such as" in printed
    assert stale.exists(), "a running training may read it"


def test_a_run_that_begins_meanwhile_stays(running: Run) -> None:
    from icd.upkeep.cleaning import handle

    item = Item("runs", (running.folder,), running.folder)
    assert handle(item, delete=True) == (0, " (stays, because a process has begun to use it)")
    assert running.folder.exists()


def test_old_versions_of_generated_data_go(
    track: Track, capsys: pytest.CaptureFixture[str]
) -> None:
    present = track.data_root
    for name in ("train-6", "test-3", "test-9"):
        write(present / name / "0.png")
        write(present / f"{name}.json")
    old = write(Path("data/tiny-0123456789/train-6/0.png"))
    other = [write(Path(f"data/{name}/x")) for name in ("tiny-birds", "birds", "tiny2-0123456789")]
    Path("results/tiny").mkdir(parents=True)
    printed = clean(capsys, "--delete")
    assert not old.parents[1].exists()
    assert sorted(path.name for path in present.iterdir()) == [
        *("test-3", "test-3.json", "train-6", "train-6.json")
    ]
    assert all(file.exists() for file in other)
    assert "data: earlier versions of generated data" in printed


def test_annotations_of_changed_sources_go(
    track: Track, capsys: pytest.CaptureFixture[str]
) -> None:
    content: dict[str, list] = {"images": [], "annotations": [], "categories": []}
    for name in ("same", "changed", "gone"):
        source = write(Path(f"user/{name}.json"))
        write_made(Path(f"data/{name}-0123456789.json"), content, [source])
    Path("user/changed.json").write_text("other")
    Path("user/gone.json").unlink()
    write(Path("data/theirs.json"))
    clean(capsys, "--delete")
    left = sorted(file.name for file in Path("data").iterdir())
    assert left == ["same-0123456789.json", "theirs.json"]


def test_caches_go(track: Track, capsys: pytest.CaptureFixture[str]) -> None:
    old = write(Path("results/tiny/runs/a/.writing-1.pth"))
    new = write(Path("results/tiny/runs/a/.writing-2.pth"))
    os.utime(old, (1, 1))
    rehearsal = write(Path("results/tiny/rehearsal/work/kind/run/model.pth"))
    weights = write(Path("weights/some.pth"))
    assert "some.pth" not in clean(capsys, "--track", "tiny.yaml"), "another track may need it"
    printed = clean(capsys, "--delete")
    assert [file.exists() for file in (old, new, rehearsal, weights)] == [False, True, False, False]
    assert "caches: rehearsals in pieces" in printed


def test_what_git_has_stays(runs: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    folder = finish(runs[0])
    checkpoint = folder / f"work/iter_{runs[0].iterations}.pth"
    for command in (["init", "-q"], ["add", "-f", str(checkpoint)]):
        subprocess.run(["git", *command], check=True)
    assert "(stays, because git has files in it)" in clean(capsys, "--delete")
    assert checkpoint.exists()


def test_runs_of_an_unknown_track_stay(runs: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    finish(runs[0])
    Path("tiny.yaml").unlink()
    printed = clean(capsys, "--only", "runs", "--delete")
    assert "tiny: which of its 1 runs are needed is unknown: its file is not" in printed
    assert runs[0].folder.exists()


def test_runs_of_a_copy_of_the_track_stay(
    track: Track, runs: list[Run], capsys: pytest.CaptureFixture[str]
) -> None:
    """With another recipe, but the same name."""
    finish(runs[0])
    copy = yaml.safe_load(Path("tiny.yaml").read_text())
    copy["recipe"]["unit"] = 77
    Path("copy.yaml").write_text(yaml.safe_dump(copy))
    assert clean(capsys, "--only", "runs") == "There is nothing to delete.\n"
    assert clean(capsys, "--only", "runs", "--track", "copy.yaml").startswith("There is nothing")


def test_runs_of_a_track_that_is_not_valid_stay(
    track: Track, runs: list[Run], capsys: pytest.CaptureFixture[str]
) -> None:
    finish(track.describe({"role": "student", "schedule": "9x"}, 0))
    write(Path("weights/some.pth"))
    content = yaml.safe_load(Path("tiny.yaml").read_text())
    Path("tiny.yaml").write_text(yaml.safe_dump(content | {"seeds": []}))
    printed = clean(capsys, "--only", "runs", "caches")
    assert "runs are needed is unknown: tiny.yaml: seeds: is []" in printed
    assert printed.endswith("There is nothing to delete.\n")


def test_links_are_not_followed(tmp_path: Path) -> None:
    kept = write(tmp_path / "user/photo.jpg", 5000)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/images").symlink_to(tmp_path / "user", target_is_directory=True)
    item = Item("data", (tmp_path / "data",))
    assert item.bytes < 5000
    item.delete()
    assert kept.exists()
    assert not (tmp_path / "data").exists()


def test_sizes_have_a_unit() -> None:
    assert (megabytes(1_500_000), megabytes(2_500_000_000)) == ("1.5 MB", "2.5 GB")


@pytest.mark.slow
def test_a_cleaned_run_is_still_finished(lab: Lab) -> None:
    """A real one: lost outputs are restored without training, and the bits stay."""
    run = lab.run(role="teacher")
    shutil.rmtree(lab.folder(run))
    folder = lab.train(run, checkpoint_every=10)
    outputs = {name: sha256(folder / name) for name in ("model.pth", "model.py")}
    assert list((folder / "work").glob("iter_*.pth"))
    from icd.upkeep.leftovers import checkpoints

    for item in checkpoints({run.id: run}):
        item.delete()
    assert not list((folder / "work").glob("iter_*.pth"))
    assert is_finished(folder)
    (folder / "model.pth").unlink()
    lab.train(run)
    assert {name: sha256(folder / name) for name in outputs} == outputs
    logged = json.loads((folder / "manifest.json").read_text())
    assert logged["run"] == run.id
