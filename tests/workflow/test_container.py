"""Jobs run in a container. A stand-in for apptainer notes what it is told and runs it here."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from icd.experiments.track import load_track
from icd.experiments.yaml_files import ROOT
from tests.workflow.toy import jobs, snakemake, toy_track

PROFILE = ("--workflow-profile", str(ROOT / "profiles/apptainer"), "--cores", "1")
APPTAINER = """#!/bin/bash
[ "$1" = --version ] && echo "apptainer version 1.3.4" && exit
echo "$*" >> told
while [ "$1" != -c ]; do shift; done
exec bash -c "$2"
"""


@pytest.fixture
def track_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toy track, beside which apptainer is found."""
    program = tmp_path / "bin/apptainer"
    program.parent.mkdir()
    program.write_text(APPTAINER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    file = tmp_path / "toy.yaml"
    file.write_text(yaml.safe_dump(toy_track(), sort_keys=False))
    return file


@pytest.mark.slow
def test_jobs_run_in_the_image_with_the_gpus(track_file: Path) -> None:
    folder = track_file.parent
    (folder / "our.sif").touch()
    config = ("--config", f"track={track_file}", "container=our.sif")
    made = load_track(str(track_file)).annotations("test")
    printed = snakemake(folder, *PROFILE, str(made), *config)
    assert jobs(printed) == {"Generate the split test of toy"}
    assert (folder / made).exists()
    (told,) = (folder / "told").read_text().splitlines()
    assert told.startswith("exec --home")
    assert "--nv" in told.split()
    assert " our.sif bash -c set -euo pipefail;" in told


def test_a_missing_image_is_an_error_before_anything_starts(track_file: Path) -> None:
    config = ("--config", f"track={track_file}")
    printed = snakemake(track_file.parent, *PROFILE, "--dry-run", *config, fails=True)
    assert "error: --config container=icd.sif: does not exist; expected an image" in printed
    assert "Traceback" not in printed
