"""The command line, as Snakemake and users call it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from icd.__main__ import COMMANDS, main
from icd.data.synthetic import SyntheticSpec, write_dataset
from icd.experiments.ablation import load_ablation
from icd.experiments.track import load_track
from icd.experiments.yaml_files import ROOT, WORKFLOW

SPLITS = {"train": 6, "test": 3}


@pytest.fixture
def track_file(tmp_path, monkeypatch):
    """The mini track with a handful of small images, in the working directory."""
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load((WORKFLOW / "tracks/mini.yaml").read_text())
    content["name"] = "tiny"
    del content["roles"]["student"]["pretrained"]
    content["data"] = {"synthetic": {"seed": 3, "image_size": 64}, "splits": SPLITS}
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def test_data_and_check(track_file, tmp_path):
    assert main(["data", track_file, "--data", "made"]) == 0
    write_dataset(Path("expected"), SyntheticSpec(3, 64), SPLITS)
    made, expected = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in (tmp_path / "made", tmp_path / "expected")
    )
    assert made == expected

    assert main(["check", track_file, "--data", "made"]) == 0
    survey = json.loads(Path("results/tiny/data.json").read_text())
    assert Path("results/tiny/samples.png").stat().st_size
    assert {name: counts["images"] for name, counts in survey["splits"].items()} == SPLITS
    assert sum(survey["priors"]["frequency"]) == pytest.approx(1)


def test_collect_render_and_show(track_file, capsys):
    ablation = load_ablation("main", load_track(track_file))
    for i, run in enumerate(ablation.runs):
        run.folder.mkdir(parents=True)
        metrics = {"metrics": {"bbox": {"AP": i / 100, "AP50": 0.5}}}
        (run.folder / "metrics.json").write_text(json.dumps(metrics))
    folder = "results/tiny/main"
    common = ["main", track_file, "--data", "made"]
    for command in ("collect", "render"):
        assert main([command, *common, "--folder", folder]) == 0
    kinds = {"results": ["csv"], "bootstrap": ["csv"], "table": ["csv", "html", "md", "tex"]}
    kinds |= {"figure": ["png", "svg"], "per_class": ["csv", "png", "svg"], "per_size": ["csv"]}
    kinds["diagnosis"] = ["csv"]
    made = sorted(f"{name}.{kind}" for name, each in kinds.items() for kind in each)
    assert sorted(path.name for path in Path(folder).iterdir()) == made

    capsys.readouterr()
    assert main(["show", "main", "--track", "tiny"]) == 0
    shown = capsys.readouterr().out
    assert shown == Path(folder, "table.md").read_text()
    assert all(row.label in shown for row in ablation.rows)


def test_measure_and_figure(track_file):
    assert main(["data", track_file, "--data", "made"]) == 0
    for run in load_ablation("main", load_track(track_file)).runs:
        (run.folder / "test").mkdir(parents=True)
        (run.folder / "test/bbox.json").write_text("[]")
    common = ["errors", "main", track_file, "--data", "made"]
    assert main(["measure", *common, "--output", "out/errors.csv"]) == 0
    assert "Miss" in Path("out/errors.csv").read_text()
    figures = ["out/errors.svg", "out/errors.png"]
    assert main(["figure", *common, "--sources", "out/errors.csv", "--outputs", *figures]) == 0
    assert all(Path(figure).stat().st_size for figure in figures)


def test_a_failed_run_says_so_and_tables_show_the_rest(track_file, capsys):
    ablation = load_ablation("main", load_track(track_file))
    teacher, student, *_ = ablation.runs
    for run in (teacher, student):
        run.folder.mkdir(parents=True)
        (run.folder / "run.json").write_text(json.dumps(run.description))
    assert main(["evaluate", str(teacher.folder), "--output", "metrics.json"]) == 2
    failed = teacher.folder / "failed-test.json"
    assert json.loads(failed.read_text())["error"].startswith("InputError: ")
    snapshot = ["--output", "x.json", "--weights", "1.pth"]  # which is of a figure
    assert main(["evaluate", str(student.folder), *snapshot]) == 2
    assert f"remove {student.folder} to train it again" in capsys.readouterr().err
    assert not list(student.folder.glob("failed*"))
    tables = ["tables", track_file, "main", "--data", "made"]
    assert main(tables) == 0
    shown = Path("results/tiny/main/table.md").read_text()
    assert "Failed: Teacher, seed 0 (InputError" in shown
    assert "Failed: Teacher, seed 0" in Path("results/tiny/README.md").read_text()

    metrics = {"metrics": {"bbox": {"AP": 0.25}}}
    (student.folder / "metrics.json").write_text(json.dumps(metrics))
    assert main(tables) == 0
    assert "failed runs: 1\n" in capsys.readouterr().out
    shown = Path("results/tiny/main/table.md").read_text()
    assert "25.0" in shown
    assert "Failed: Teacher, seed 0 (InputError" in shown

    failed.unlink()
    Path("results/tiny/main/table.md").unlink()
    assert main(tables) == 0
    assert not Path("results/tiny/main/table.md").exists(), "nothing has failed"


def test_show_says_how_to_make_a_table_that_is_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["show", "main"]) == 2
    expected = (
        "error: results/mini/main/table.md: does not exist; expected to run: snakemake main\n"
    )
    assert capsys.readouterr() == ("", expected)


def test_show_refuses_a_track_that_is_not_there(track_file, capsys):
    assert main(["show", "main", "--track", "tinny"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --track: there is no track 'tinny'; expected one of [")
    assert "'mini', 'tiny', 'voc'] or the path of a YAML file" in error
    assert main(["show", "main", "--track", "tiny"]) == 2
    assert "snakemake main --config track=FILE" in capsys.readouterr().err


def test_only_a_track_that_makes_its_data_has_a_command_for_it(track_file, capsys):
    content = yaml.safe_load(Path(track_file).read_text())
    split = {"annotations": "a.json", "images": "images"}
    content["data"] = {"root": "mine", "splits": {"train": split, "test": split}}
    Path("own.yaml").write_text(yaml.safe_dump(content))
    assert main(["data", "own.yaml", "--data", "made"]) == 2
    assert capsys.readouterr().err.startswith("error: own.yaml: data.synthetic: is missing; ")
    assert not Path("made").exists()


@pytest.mark.parametrize("there", [[], ["results.csv"]], ids=["neither", "one"])
def test_render_asks_for_the_raw_numbers(track_file, capsys, there):
    Path("out").mkdir()
    for name in there:
        Path("out", name).touch()
    assert main(["render", "main", track_file, "--data", "x", "--folder", "out"]) == 2
    missing = "bootstrap.csv" if there else "results.csv"
    expected = f"error: out/{missing}: does not exist; expected what icd collect writes\n"
    assert capsys.readouterr() == ("", expected)


def test_help_lists_every_command():
    result = subprocess.run(
        [sys.executable, "-m", "icd", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for command in COMMANDS:
        name = command.__name__.replace("_", "-")
        assert re.search(rf"^    {name}\s", result.stdout, re.M)
        assert command.__doc__ is not None
        assert command.__doc__.split("\n")[0].rstrip(".")[:30] in result.stdout


@pytest.mark.parametrize("argv", [[], ["fly"], ["check"], ["train", "x", "--workers", "a"]])
def test_wrong_arguments_exit_with_2(argv, capsys):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert "usage: icd" in capsys.readouterr().err


def test_who_reads_only_the_first_lines_gets_no_traceback():
    command = [sys.executable, "-m", "icd", "plan", "main"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


# Names and folders that are not there.
MISTAKES = {
    "evaluate nope --output x.json": "nope/run.json: does not exist; expected the description",
    "train nope --data x --survey y --manifest z": "nope/run.json: does not exist; expected",
    "evaluate RUN --output x.json --split val": "split: is 'val'; expected one of ['pretrain', ",
    "evaluate RUN --output x.json": "RUN/model.py: does not exist; expected the config",
    "evaluate RUN --output x.json --annotations a.json --images b": "a.json: does not exist",
    "data TRACK --data x --split nope": "data.splits: has no 'nope'; expected one of",
    "show nope": "ablations: nope: no such table; expected one of ['auxiliary_task', ",
    "show main --track coco": "expected to run: snakemake main --config track=coco coco=FOLDER",
    "show main --track other": "--track: there is no track 'other'; expected one of ['coco', ",
    "show main --track TRACK": "results/tiny/main/table.md: does not exist; expected to run",
    "plan nope": "nope: no such ablation",
    "figure errors heads TRACK --data x --outputs x.svg": "figures.errors: is missing",
    "measure errors heads TRACK --data x --output x.csv": "figures.errors: is missing",
    "figure errors main TRACK --data x --sources no.csv --outputs x.svg": "no.csv: does not exist",
    "cost_table TRACK --data x --source nope --outputs x.md": "nope: cannot be used (No such file",
    "fetch_model nope --sha256 12345678 --output x": "nope: is unknown to the installed mmdet",
}


@pytest.mark.parametrize(("command", "words"), MISTAKES.items(), ids=MISTAKES)
def test_a_wrong_name_ends_in_one_line_and_leaves_nothing(track_file, capsys, command, words):
    run = load_track("mini").describe({}, 0)
    Path("RUN").mkdir()
    Path("RUN/run.json").write_text(json.dumps(run.description))
    Path("ablations").mkdir()
    before = {*Path().rglob("*")}
    assert main([track_file if part == "TRACK" else part for part in command.split()]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("error: ")
    assert words in line
    left = {*Path().rglob("*")} - before
    assert {path.name for path in left} <= {"failed-test.json"}


def test_a_bug_is_called_one_and_leaves_its_traceback(tmp_path):
    """In one line on the terminal; the log holds the rest."""
    code = """
import sys
from icd import __main__ as cli
def schemas(args): {}["key"]
cli.COMMANDS = {schemas: []}
sys.exit(cli.main(["schemas"]))
"""
    for debug, shown in ({}, False), ({"ICD_DEBUG": "1"}, True):
        with (tmp_path / "log").open("w") as log:
            ended = subprocess.run(
                [sys.executable, "-c", code],
                env=os.environ | {"PYTHONPATH": str(ROOT)} | debug,
                stdout=log,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert ended.returncode == 1
        *above, line = ended.stderr.splitlines()
        assert line.startswith("error: KeyError: 'key' (a bug: please report it; the traceback is ")
        assert bool(above) == shown
        assert ("Traceback" in (tmp_path / "log").read_text()) != shown
