"""Which trackers are chosen, and what a missing one says."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from icd import __main__ as cli
from icd.errors import InputError
from icd.experiments import trackers
from icd.experiments.track import load_track
from icd.experiments.trackers import TRACKERS, chosen, require_installed
from icd.experiments.yaml_files import ROOT
from tests.experiments.track_files import laid_over


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, ["wandb"]),
        ("mlflow", ["mlflow"]),
        ("wandb,tensorboard", ["tensorboard", "wandb"]),
        (["mlflow", "tensorboard"], ["tensorboard", "mlflow"]),
        ("none", []),
        ([], []),
    ],
    ids=str,
)
def test_the_command_line_replaces_the_trackers_of_the_track(
    given: Any, expected: list[str]
) -> None:
    assert chosen(given, ["wandb"]) == expected


@pytest.mark.parametrize("given", ["tensorbord", "wandb,none", ["wandb", "x"], True, 3])
def test_unknown_trackers_are_refused(given: Any) -> None:
    with pytest.raises(InputError, match=r"--config tracking: is .*; expected some of tensorboard"):
        chosen(given, [])


def test_trackers_rename_no_run() -> None:
    track = load_track("mini", data_root=Path("data"))
    followed = laid_over(track, {"tracking": [*TRACKERS]})
    assert followed.content.tracking == [*TRACKERS]
    for change in ({"role": "teacher"}, {"role": "student", "method": "icd"}):
        assert followed.describe(change, 0).id == track.describe(change, 0).id


@pytest.mark.parametrize("tracker", TRACKERS)
def test_each_tracker_is_installed_here(tracker: str) -> None:
    require_installed([tracker], "here")


def test_a_missing_tracker_ends_a_training_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder of its name, such as the one that wandb writes to, is no installation."""
    monkeypatch.setitem(trackers.MODULES, "wandb", ["folder_of_a_tracker"])
    (tmp_path / "folder_of_a_tracker").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run/run.json").write_text("{}")
    options = ["--data", ".", "--survey", "survey.json", "--manifest", "manifest.json"]
    assert cli.main(["train", "run", *options, "--tracking", "tensorboard", "wandb"]) == 2
    assert capsys.readouterr().err == (
        "error: icd train: tracking: wandb is not installed; expected pip install -c"
        " constraints.txt -e '.[wandb]', or no such tracker\n"
    )
    assert [path.name for path in Path("run").iterdir()] == ["run.json"]


def test_no_tracker_is_imported_unless_it_is_used() -> None:
    """They take seconds, and some look for a network."""
    slow = {module for modules in trackers.MODULES.values() for module in modules}
    for file in (ROOT / "icd").rglob("*.py"):
        for node in ast.parse(file.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names.append(node.module or "")
            assert {name.split(".")[0] for name in names}.isdisjoint(slow), file
