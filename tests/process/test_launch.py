"""One command in several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from icd.__main__ import main
from icd.experiments.yaml_files import ROOT

CODE = "import sys; from icd.process.launch import launch; sys.exit(launch(2, sys.argv[1:]))"


@pytest.mark.parametrize(("track", "status"), [("mini", 0), ("missing", 2)])
def test_the_outcome_is_that_of_the_processes(tmp_path: Path, track: str, status: int) -> None:
    """Both print the same table, or fail as one would have done."""
    table = tmp_path / "results/mini/main/table.md"
    table.parent.mkdir(parents=True)
    table.write_text("a table\n")
    result = subprocess.run(
        [sys.executable, "-c", CODE, "show", "main", "--track", track],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "4"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == status, result.stderr
    assert result.stdout == ("" if status else "a table\na table\n")
    assert ("error: " in result.stderr) == bool(status)


def test_a_run_on_several_gpus_is_launched_once_it_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a-run").mkdir()
    Path("a-run/run.json").touch()
    done: list = []
    monkeypatch.setattr("icd.commands.runs.use_gpus", done.append)

    def launch(count: int, argv: list[str]) -> int:
        done.append((count, argv))
        return 7

    monkeypatch.setattr("icd.process.launch.launch", launch)
    argv = ["train", "a-run", "--data", "d", "--survey", "s", "--manifest", "m", "--gpus", "2"]
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert done == [2, (2, argv)]
    assert ended.value.code == 7
