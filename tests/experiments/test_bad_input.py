"""Bad input ends with one clear line: the file, the key and what would be right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from icd import __main__ as cli
from icd.experiments import ablation as ablations
from icd.experiments.yaml_files import ROOT
from icd.files import write_text
from tests.experiments.bad_ablations import ABLATION_CASES
from tests.experiments.bad_data import DATA_CASES
from tests.experiments.bad_machines import DISK_CASES, GPU_CASES
from tests.experiments.bad_runs import RUN_CASES, teacher_checkpoint
from tests.experiments.bad_tracks import TRACK_CASES
from tests.experiments.broken import Project, in_coco, in_track

TRAIN = ["train", "run", "--data", "my data", "--survey", "survey.json"]
TRAIN += ["--manifest", "manifest.json"]
CHECK = ["check", "track.yaml", "--data", "my data", "--output", "out/data.json"]
COLLECT = ["collect", "table", "track.yaml", "--data", "my data", "--folder", "out"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ablations, "FOLDER", tmp_path / "ablations")
    return Project(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("command", "case"),
    [
        pytest.param(command, case, id=f"{kind}: {case.name}")
        for kind, command, cases in (
            ("track", CHECK, TRACK_CASES),
            ("data", CHECK, DATA_CASES),
            ("ablation", COLLECT, ABLATION_CASES),
            ("run", TRAIN, RUN_CASES),
            ("machine", TRAIN, DISK_CASES),
            ("machine", [*TRAIN, "--gpus", "1"], GPU_CASES),
        )
        for case in cases
    ],
)
def test_bad_input_ends_with_one_clear_line(project, capsys, command, case):
    case.edit(project)
    project.write()
    capsys.readouterr()  # what mmdet says when it is imported
    assert cli.main(command) == 2
    printed = capsys.readouterr()
    assert case.late or printed.out == ""
    assert printed.err.endswith("\n")
    *log, line = printed.err.splitlines()
    assert case.late or not log
    assert line.startswith("error: ")
    assert "; expected " in line
    for words in case.words:
        assert words in line
    assert_no_result()


def assert_no_result() -> None:
    """Nothing is there that a later call could take for the outcome of this one."""
    made = {path.relative_to("out") for path in Path("out").glob("**/*") if path.is_file()}
    assert {path.parent for path in made} <= {Path("runs/images")}  # what images hold stays true
    left = {path.name for path in Path("run").glob("**/*") if path.is_file()}
    assert left <= {"run.json", "lock", "failed.json"}
    assert not Path("manifest.json").exists()


def test_the_same_run_unbroken_is_carried_out(project):
    teacher_checkpoint()(project)
    project.write()
    assert cli.main(TRAIN) == 0
    assert {path.name for path in Path("run").iterdir()} >= {"model.py", "model.pth"}
    assert Path("manifest.json").exists()


def test_the_same_input_unbroken_passes(project, capsys):
    project.write()
    assert cli.main(CHECK) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "train: 2 images, 2 objects in 2 classes" in printed.out
    survey = json.loads(Path("out/data.json").read_text())
    assert survey["classes"] == ["cat", "dog"]
    assert survey["splits"]["test"]["objects"] == 2


def environment() -> dict[str, str]:
    """Jobs and Snakemake of this Python, with the package importable from anywhere."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}


def test_the_module_says_the_same_and_exits_with_2(project):
    in_coco("categories", None)(project)
    project.write()
    result = subprocess.run(
        [sys.executable, "-m", "icd", *CHECK], env=environment(), capture_output=True, text=True
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith(
        "error: my data/train.json: categories: is missing or not a list;"
    )
    assert result.stderr.count("\n") == 1


def plan(*arguments: str) -> subprocess.CompletedProcess:
    """A dry run of Snakemake on the track of this folder."""
    command = ["-m", "snakemake", "-n", "-s", str(ROOT / "Snakefile"), "--directory", "."]
    return subprocess.run(
        [sys.executable, *command, *arguments, "--config", "track=track.yaml"],
        env=environment(),
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (in_track("recipe.colour", 1), "error: track.yaml: recipe.colour: unknown key; expected"),
        (in_track("data.root", "$place"), "error: track.yaml: data.root: $place is not set; "),
        (
            in_track("roles.teacher", {"config": "track.yaml", "checkpoint": "their.pth"}),
            "error: track.yaml: roles.teacher.checkpoint: their.pth does not exist; expected",
        ),
    ],
    ids=["unknown key", "root not set", "missing teacher checkpoint"],
)
def test_snakemake_hands_the_message_on(project, edit, words):
    edit(project)
    project.write()
    result = plan()
    assert result.returncode == 1
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    # Before it, Snakemake names the profile that it uses.
    _, line = result.stderr.splitlines()
    assert line.startswith(words)


# A profile, and what Snakemake or the Snakefile says of it.
PROFILES = {
    "unknown key": ("cores: 1\nretrys: 3\n", "unrecognized arguments: --retrys=3"),
    "not YAML": ("cores: [1\n", "config.yaml\", line 1, column 8\nexpected ',' or ']'"),
    "a list": ("- cores\n", "config.yaml') returned type 'list' instead of 'dict'"),
    "an empty file": ("", "config.yaml') returned type 'NoneType' instead of 'dict'"),
    "text for a number": ("cores: many\n", "number of cores (--cores, -c): must be integer"),
    "text for a number of GPUs": (
        "cores: 1\nresources: [gpu=all]\n",
        "Resource 'gpu' was given value 'all', which is not an integer",
    ),
    "a resource of no rule": (
        "cores: 1\nset-resources: {runtime: 60}\n",
        "Invalid set-resources format in profile. Expected two-level mapping",
    ),
    "resources of a rule that is not there": (
        "cores: 1\nresources: [gpu=2]\nset-resources: {trian: {runtime: 60}}\n",
        "error: set-resources: no rule is named trian; expected some of",
    ),
    "threads of a rule that is not there": (
        "cores: 1\nresources: [gpu=2]\nset-threads: {evaluation: 4}\n",
        "error: set-threads: no rule is named evaluation; expected some of",
    ),
    "unknown executor": ("executor: slrum\n", "invalid choice: 'slrum' (choose from 'slurm'"),
    "fewer GPUs than a run needs": (
        "cores: 1\nresources: [gpu=1]\n",
        "error: track.yaml: machine.gpus: a run needs 2 GPUs, but all runs together may use only 1;"
        " expected",
    ),
}


@pytest.mark.parametrize(("content", "words"), PROFILES.values(), ids=PROFILES)
def test_a_bad_profile_is_named(project, content, words):
    in_track("machine.gpus", 2)(project)
    project.write()
    write_text(Path("profile/config.yaml"), content)
    result = plan("--workflow-profile", "profile")
    assert result.returncode != 0
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not Path("results").exists()


def test_a_profile_may_name_rules_that_only_other_tracks_have(project):
    """This track makes no data and has no tuning."""
    project.write()
    words = "cores: 1\nset-resources: {data: {runtime: 60}, tuning: {runtime: 9}}\n"
    write_text(Path("profile/config.yaml"), words)
    result = plan("--workflow-profile", "profile")
    assert result.returncode == 0, result.stderr
