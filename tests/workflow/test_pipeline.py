"""The pipeline from end to end, with Snakemake and real trainings, at toy scale."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from icd.evaluation.coco import NAMES
from icd.experiments.ablation import ablation_names, load_ablation, with_sources
from icd.experiments.track import load_track
from icd.experiments.yaml_files import ROOT
from icd.figures.catalogue import FIGURES
from tests.data.devkit import write_devkit
from tests.full import FULL, short
from tests.tracking.stores import tensorboard, tensorboard_curves
from tests.workflow.toy import Project, changed, jobs, made, snakemake, toy_track, unchanged

pytestmark = pytest.mark.slow

END = {"Collect the numbers of main", "Render main", "Complete the main table"}

RESULTS = [
    "results.csv",
    "bootstrap.csv",
    "table.md",
    "table.csv",
    "table.tex",
    "figure.svg",
    "figure.png",
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("pipeline"))


def test_one_command_makes_the_table(project):
    expected = made(project.ablation)
    assert jobs(project.printed) == END | expected | {
        "Generate the split pretrain of toy",
        "Generate the split train of toy",
        "Generate the split test of toy",
        "Check the data of toy",
    }
    assert "24 of 24 steps (100%) done" in project.printed
    for row in project.ablation.rows:
        for name in ("run.json", "model.py", "model.pth", "metrics.json", "manifest"):
            assert project.file(row.id, name).stat().st_size
    for name in RESULTS:
        assert (project.folder / "results/toy/main" / name).stat().st_size


def test_a_watcher_sees_which_run_is_where(project):
    for row in project.ablation.rows:
        run = project.run(row.id)
        total = run.iterations
        line = rf"^{re.escape(run.id)}  {total}/{total}  loss \d+\.\d+ .*\d:\d\d left$"
        assert re.search(line, project.printed, re.M)


def test_a_teacher_is_evaluated_before_anything_is_distilled_from_it(project):
    order = re.findall(r"^Job \d+: (.+)$", project.printed, re.M)
    evaluated = order.index(f"Evaluate {project.run('teacher').id}")
    for row in project.ablation.rows:
        run = project.run(row.id)
        if run.teacher:
            assert evaluated < order.index(f"Train {run.id}")


def test_the_csv_holds_twelve_metrics_of_every_row_and_seed(project):
    with (project.folder / "results/toy/main/results.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    keys = [(line["row"], line["seed"], line["iou_type"], line["metric"]) for line in lines]
    rows = [row.id for row in project.ablation.rows]
    assert keys == [(row, "0", "bbox", name) for row in rows for name in NAMES]
    assert len(NAMES) == 12
    for line in lines:
        metrics = json.loads(project.file(line["row"], "metrics.json").read_text())["metrics"]
        value = metrics["bbox"][line["metric"]]
        assert line["value"] == ("" if value is None else repr(value))
        assert value is None or 0 <= value <= 1


def test_the_table_has_the_rows_in_order(project):
    table = (project.folder / "results/toy/main/table.md").read_text()
    labels = re.findall(r"^\| (\S.*?) +\|", table, re.M)
    assert labels == [row.label for row in project.ablation.rows]


@pytest.mark.parametrize("row", ["teacher", "icd_inherit"])
def test_a_manifest_tells_where_a_run_comes_from(project, row):
    run, manifest = project.run(row), json.loads(project.file(row, "manifest").read_text())
    assert manifest["run"] == run.id
    assert manifest["description"] == run.description
    assert manifest["description"] == json.loads(project.file(row, "run.json").read_text())
    config = json.loads(project.file(row, "config.json").read_text())
    assert config["randomness"]["seed"] == run.seed == 0
    assert config["train_cfg"]["max_iters"] == run.iterations
    for name in ("torch", "onedl-mmdetection", "numpy"):
        assert manifest["versions"][name] == version(name)
    head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True)
    if head.returncode == 0:
        assert re.fullmatch("[0-9a-f]{40}", manifest["git"]["commit"])
    assert manifest["hardware"]["processor"]
    assert manifest["hardware"]["threads"] == 1
    assert manifest["seconds"] > 0
    assert manifest["peak_memory_mib"]["process"] > 100


def test_a_second_call_does_nothing_and_says_so(project):
    printed = project.snakemake("--cores", "2")
    assert "Nothing to be done" in printed
    assert jobs(printed) == set()


# Row and file, then the rows that have to be trained and evaluated again.
DELETIONS = {
    "a student's weights": ("icd", "model.pth", ["icd"], ["icd"]),
    "the teacher's weights": (
        "teacher",
        "model.pth",
        ["teacher", "student_inherit", "icd", "icd_inherit"],
        ["teacher", "student_inherit", "icd", "icd_inherit"],
    ),
    "metrics": ("student", "metrics.json", [], ["student"]),
    "the teacher's metrics": (  # it has to be evaluated before others learn from it
        "teacher",
        "metrics.json",
        ["student_inherit", "icd", "icd_inherit"],
        ["teacher", "student_inherit", "icd", "icd_inherit"],
    ),
    "a manifest": ("icd_inherit", "manifest", ["icd_inherit"], ["icd_inherit"]),
}


@pytest.mark.parametrize(("row", "name", "trained", "evaluated"), DELETIONS.values(), ids=DELETIONS)
def test_a_lost_file_of_a_run_repeats_what_depends_on_it(project, row, name, trained, evaluated):
    with project.without(project.file(row, name)):
        planned = jobs(project.snakemake("--dry-run"))
    assert planned == END | {
        f"{verb} {project.run(again).id}"
        for verb, rows in (("Train", trained), ("Evaluate", evaluated))
        for again in rows
    }


def test_runs_that_tables_show_are_taken_from_there_if_asked(project):
    """A table with rows that are new, where only the tables of others are at hand."""
    heads = load_ablation("heads", load_track(str(project.track_file)))
    known = {run.id for run in project.ablation.measured}
    new = [run for run in heads.measured if run.id not in known]
    assert 0 < len(new) < len(heads.measured)
    with project.without(project.folder / "results/toy/runs"):
        everything = jobs(project.snakemake("--dry-run", "heads"))
        planned = jobs(project.snakemake("--dry-run", "heads", config=("reuse=true",)))
        nothing = project.snakemake("--dry-run", config=("reuse=true",))
    assert made(heads) < everything
    trained = {job for job in planned if job.startswith("Train ")}
    assert trained == {f"Train {run.id}" for run in with_sources(new)}
    work = ("Describe ", "Train ", "Evaluate ")
    assert not [job for job in jobs(nothing) if job.startswith(work)]


def test_a_table_that_takes_over_its_own_numbers_keeps_them(project):
    """Snakemake would delete it before its numbers are collected again."""
    folder = project.folder / "results/toy/main"
    files = [folder / name for name in ("results.csv", "bootstrap.csv")]
    before = [file.read_text() for file in files]
    with project.without(project.file("icd", "metrics.json")):
        project.snakemake("--forcerun", "collect", config=("reuse=true",))
    assert [file.read_text() for file in files] == before
    project.snakemake()  # the others know nothing of reuse=true


def test_another_evaluation_of_the_teacher_trains_nobody_again(project):
    students = {f"Evaluate {run.id}" for run in project.ablation.runs if run.teacher}
    with changed(project.file("teacher", "metrics.json")):
        assert jobs(project.snakemake("--dry-run")) == END | students


def test_other_test_annotations_repeat_the_evaluations_even_if_they_are_older(project):
    """Content decides, not time; in one call, so that no table mixes both."""
    file = project.folder / load_track(str(project.track_file)).annotations("test")
    expected = {job for job in made(project.ablation) if job.startswith("Evaluate ")}
    with changed(file), unchanged(project.folder / "results/toy/data.json"):
        os.utime(file, (10, 10))
        planned = jobs(project.snakemake("--dry-run"))
        with project.without(project.folder / ".snakemake"):
            assert jobs(project.snakemake("--dry-run")) == planned
            shutil.rmtree(project.folder / ".snakemake")
    assert planned == END | expected | {"Check the data of toy"}


def test_runs_on_other_annotations_are_replaced_only_if_asked(project):
    file = load_track(str(project.track_file)).annotations("train")
    expected = made(project.ablation) - {f"Describe {run.id}" for run in project.ablation.runs}
    expected -= {f"Train {run.id}" for run in project.ablation.runs if run.split != "train"}
    with changed(project.folder / file), unchanged(project.folder / "results/toy/data.json"):
        os.utime(project.folder / file, (10, 10))
        refused = project.snakemake("--dry-run", fails=True)
        assert f"error: {file}: is not the file that 5 runs, such as results/toy/runs/" in refused
        planned = jobs(project.snakemake("--dry-run", config=("retrain=true",)))
    assert planned == END | expected | {"Check the data of toy"}
    assert "Nothing to be done" in project.snakemake("--dry-run")


def test_replaced_images_are_found_and_runs_on_others_replaced_only_if_asked(project):
    """Even those of the same size and time: the check reads them, the next plan knows them."""
    track, check = load_track(str(project.track_file)), {"Check the data of toy"}
    for split in ("test", "train"):
        image = project.folder / track.images(split) / "000003.png"
        with unchanged(image), unchanged(project.folder / "results/toy/data.json"):
            damage(image)
            planned = jobs(project.snakemake("--dry-run"))
            assert planned == {*check, "Complete the main table"}, "a check of the contents"
            printed = project.snakemake(
                "--cores", "1", "results/toy/data.json", fails=split != "test"
            )
            if split == "test":
                assert "Warning: 5 results are of other data of the split test, such as" in printed
                evaluations = {job for job in made(project.ablation) if "Evaluate" in job}
                assert jobs(project.snakemake("--dry-run")) == END | evaluations
                continue
            refusal = (
                f"error: {track.images(split)}: holds other images than those that 5 runs, such"
            )
            assert refusal in printed
            assert "Restored previous version of results/toy/data.json" in printed
            assert refusal in project.snakemake("--dry-run", fails=True)
            planned = jobs(project.snakemake("--dry-run", config=("retrain=true",)))
            trained = {f"Train {run.id}" for run in project.ablation.runs if run.split == "train"}
            assert trained | check < planned
    project.snakemake("--cores", "1", "results/toy/data.json")
    assert "Nothing to be done" in project.snakemake("--dry-run")


def damage(image):
    """Change the last byte of a PNG, which no decoder minds; size and time stay."""
    time, content = image.stat().st_mtime_ns, bytearray(image.read_bytes())
    content[-1] ^= 1
    image.write_bytes(content)
    os.utime(image, ns=(time, time))


@pytest.mark.parametrize(
    "forced",
    [("--forcerun", "train_distilled"), ("--forceall",), ("--forcerun", "model.pth")],
    ids=lambda forced: " ".join(forced),
)
def test_a_finished_training_cannot_be_forced(project, forced):
    """It would run no iteration and write today's commit beside the old weights."""
    run = project.run("icd")
    forced = [part.replace("model.pth", f"{run.folder}/model.pth") for part in forced]
    refused = project.snakemake("--dry-run", *forced, fails=True)
    assert re.search("error: results/toy/runs/.*: is finished, so --forcerun.*deleted", refused)
    assert "Traceback" not in refused


def test_evaluations_can_be_forced(project):
    planned = jobs(project.snakemake("--dry-run", "--forcerun", "evaluate"))
    assert planned == END | {f"Evaluate {run.id}" for run in project.ablation.measured}


def test_trackers_get_metrics_and_figures_and_change_no_result(project):
    run, before = project.run("icd"), project.contents()
    forced = ("--forcerun", str(run.metrics()))
    printed = project.snakemake(*forced, config=("tracking=tensorboard",))
    assert jobs(printed) == END | {f"Evaluate {run.id}"}
    folder = project.folder / "results/toy/tracking/tensorboard"
    measured = json.loads((project.folder / run.metrics()).read_text())["metrics"]["bbox"]
    curves = tensorboard_curves(folder / run.id)
    assert curves["test/bbox/AP"] == {run.iterations: pytest.approx(measured["AP"])}
    assert tensorboard(folder / "table-main").Tags()["images"] == ["figure", "per_class"]
    shutil.rmtree(folder.parent)
    assert project.contents() == before


def test_the_tables_of_a_run_are_told_to_its_trackers(project):
    run, track = project.run("icd"), load_track(str(project.track_file))
    with project.without(project.file("icd", "model.pth")):
        planned = project.snakemake("-n", "-p", config=("tracking=[wandb, mlflow]",))
    command = rf"icd train {re.escape(str(run.folder))} .* --tracking wandb mlflow --tables (.+)$"
    (told,) = (line.split() for line in re.findall(command, planned, re.M))
    assert {"main", "methods"} <= {*told} < {*ablation_names(track)}
    for name in told:
        assert run.id in {one.id for one in load_ablation(name, track).runs}


def test_finished_runs_are_measured_on_a_further_split_without_training(project):
    content, file, run = toy_track(), project.folder / "more.yaml", project.run("icd")
    content["data"]["splits"]["test-hard"] = 4
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    targets = [str(run.metrics("test-hard")), str(run.detections("test-hard"))]
    with unchanged(project.folder / "results/toy/data.json"):
        planned = snakemake(project.folder, "--dry-run", *targets, "--config", f"track={file}")
    assert jobs(planned) == {
        "Generate the split test-hard of toy",
        "Check the data of toy",
        f"Evaluate {run.id} on the split test-hard",
    }


@pytest.mark.parametrize("key", ["trak", "Reuse", "coco"])
def test_an_unknown_key_on_the_command_line_is_an_error(project, key):
    printed = project.snakemake("--dry-run", fails=True, config=(f"{key}=true",))
    known = "['track', 'tracking', 'container', 'reuse', 'retrain', 'random']"
    assert f"error: --config {key}: unknown key; expected one of {known}" in printed


def test_what_is_missing_is_made_whatever_else_has_to_be_made_first(project):
    """Without Snakemake's memory, touched annotations have to be checked again."""
    file = project.file("icd", "model.pth")
    annotations = project.folder / load_track(str(project.track_file)).annotations("train")
    with project.without(project.folder / ".snakemake"), project.without(file):
        with unchanged(annotations):
            annotations.touch()
            planned = jobs(project.snakemake("--dry-run", str(file.relative_to(project.folder))))
        shutil.rmtree(project.folder / ".snakemake")
    assert planned == {"Check the data of toy", f"Train {project.run('icd').id}"}


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("results.csv", 3),
        ("bootstrap.csv", 3),
        ("table.md", 2),
        ("table.tex", 2),
        ("figure.png", 2),
    ],
)
def test_a_lost_result_is_made_again_from_the_numbers(project, name, count):
    with project.without(project.folder / "results/toy/main" / name):
        planned = jobs(project.snakemake("--dry-run"))
    assert planned == {0: set(), 2: END - {"Collect the numbers of main"}, 3: END}[count]


# What is deleted, of a run that no other learns from or of the results, and what is done again.
RUN, TABLE = "icd_inherit", END - {"Collect the numbers of main"}
LOSSES = {
    ("run.json",): ["Describe", "Train", "Evaluate"],
    ("model.py", "model.pth", "method.pth", "manifest"): ["Train", "Evaluate"],
    ("metrics.json", "test/bbox.json"): ["Evaluate"],
    ("samples.png",): {"Check the data of toy", "Complete the main table"},
    ("main/results.csv", "main/bootstrap.csv"): END,
    ("main/table.html", "main/figure.svg"): TABLE,
    ("README.md",): {"Write the pages of toy", "Complete the main table"},
}


@pytest.mark.parametrize(
    ("names", "again"),
    short(
        LOSSES.items(),
        lambda loss: loss[0][0] in ("run.json", "main/results.csv"),
        lambda loss: " ".join(loss[0]),
    ),
)
def test_what_is_lost_is_made_again_as_it_was(project, names, again):
    """A file alone is enough to be planned; all together are made."""
    before = project.contents()
    if isinstance(again, list):
        again = END | {f"{verb} {project.run(RUN).id}" for verb in again}
        files = [project.file(RUN, name) for name in names]
    else:
        files = [project.folder / "results/toy" / name for name in names]
    for file in files:
        with project.without(file):
            assert jobs(project.snakemake("--dry-run")) == again
    for file in files:
        file.unlink()
    assert jobs(project.snakemake("--cores", "2")) == again
    assert project.contents() == before


def test_the_interactive_page_is_gathered_from_the_runs_that_are_there(project):
    planned = jobs(project.snakemake("--dry-run", "page"))
    parts = ("curves", "precision", "images", "detections", "attention")
    gathering = {f"Gather {part} for the page" for part in parts}
    assert planned == gathering | {"Complete the interactive page"}


@FULL
def test_a_run_that_is_lost_as_a_whole_ends_as_before(project):
    """The same seed gives the same detector and the same AP."""
    before = project.contents()
    shutil.rmtree(project.file(RUN, "work").parent)
    printed = project.snakemake("--cores", "2")
    verbs = ("Describe", "Train", "Evaluate")
    assert jobs(printed) == END | {f"{verb} {project.run(RUN).id}" for verb in verbs}
    assert project.contents() == before


@pytest.fixture
def with_zoo_teacher(tmp_path: Path) -> tuple[Path, Path]:
    """A track whose teacher is in the model zoo of an mmdet, and the folder of that mmdet."""
    shelf = tmp_path / "packages/mmdet/.mim/configs/some"
    shelf.mkdir(parents=True)
    (tmp_path / "packages/mmdet/__init__.py").write_text("raise ImportError('is not to be run')")
    (shelf / "some.py").touch()
    their = tmp_path / f"some_2026-{hashlib.sha256(b'weights').hexdigest()[:8]}.pth"
    their.write_bytes(b"weights")
    entry = {"Name": "some", "Config": "configs/some/some.py", "Weights": their.as_uri()}
    (shelf / "metafile.yml").write_text(yaml.safe_dump({"Models": [entry]}))
    content = toy_track()
    content["roles"]["teacher"] = {"zoo": "some"}
    (tmp_path / "track.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return tmp_path / "packages", their


def test_the_weights_of_a_zoo_teacher_are_fetched_once(tmp_path, with_zoo_teacher):
    packages, their = with_zoo_teacher
    config = ("--config", f"track={tmp_path / 'track.yaml'}")
    planned = jobs(snakemake(tmp_path, "--dry-run", *config, packages=(packages,)))
    fetched = f"Fetch {their.name}"
    (teacher,) = (job.removeprefix("Train ") for job in planned if job.startswith("Train zoo-some"))
    assert {fetched, f"Evaluate {teacher}"} < planned
    target = f"weights/{their.name}"
    printed = snakemake(tmp_path, "--cores", "1", target, *config, packages=(packages,))
    assert jobs(printed) == {fetched}
    assert (tmp_path / target).read_bytes() == b"weights"
    again = jobs(snakemake(tmp_path, "--dry-run", *config, packages=(packages,)))
    assert again == planned - {fetched}


def test_wrong_weights_of_a_zoo_teacher_stop_the_pipeline(tmp_path, with_zoo_teacher):
    packages, their = with_zoo_teacher
    their.write_bytes(b"<html>")
    target, config = f"weights/{their.name}", f"track={tmp_path / 'track.yaml'}"
    with pytest.raises(
        AssertionError, match=f"error: {target}: {their.as_uri()} returned a web page"
    ):
        snakemake(tmp_path, "--cores", "1", target, "--config", config, packages=(packages,))
    assert list(tmp_path.glob("weights/*")) == []


def test_the_report_is_one_page_with_the_question_of_the_table(project):
    project.snakemake("--report", "report.html")
    page = (project.folder / "report.html").read_text()
    assert project.ablation.question in page
    assert "Results of ICD-bench on the track" in page
    assert "data:text/html;charset=utf8;filename=table" in page, "the table itself"


def test_figures_need_no_further_training(project):
    """And none is planned for what they take from the runs: the track keeps no snapshots."""
    numbers = {f"Measure the {name} for figures" for name in ("losses", "errors", "diagnosis")}
    expected = numbers | {f"Draw figures/{name}" for name in FIGURES}
    expected |= {"Complete the figures"}
    assert jobs(project.snakemake("--dry-run", "figures")) == expected


def test_a_failed_run_stands_in_the_table(project):
    """Comes last of those with the project, which it breaks. Tables of others stay as they are."""
    other = project.folder / "results/toy/heads/results.csv"
    other.parent.mkdir()
    other.touch()
    project.file("student", "metrics.json").unlink()
    project.file("student", "model.py").write_text("broken(")
    printed = project.snakemake("--cores", "2", fails=True)
    assert "main/table.md shows the finished runs; failed runs: 1" in printed
    table = (project.folder / "results/toy/main/table.md").read_text()
    assert "Failed: Student, seed 0 (" in table
    assert f"\n| {'ICD':<20} |" in table
    assert other.read_text() == ""


def test_a_run_takes_no_more_gpus_than_all_together_may_use(tmp_path):
    content = toy_track()
    content["machine"]["gpus"] = 2
    (tmp_path / "track.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    arguments = ("--dry-run", "--config", f"track={tmp_path / 'track.yaml'}")
    refused = snakemake(tmp_path, *arguments, fails=True)
    assert (
        "machine.gpus: a run needs 2 GPUs, but all runs together may use only 1; expected"
        in refused
    )
    assert jobs(snakemake(tmp_path, "--resources", "gpu=2", *arguments)) > END


@pytest.fixture(scope="module")
def other_track(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A track of one detector, which is no RetinaNet, and of one method."""
    content, file = toy_track(), tmp_path_factory.mktemp("other") / "track.yaml"
    del content["roles"]["student"]["detector"]
    for section, name in (("detectors", "faster-rcnn"), ("methods", "icd")):
        content[section] = {name: content[section][name]}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def test_a_track_of_any_detector_and_method_has_tables_figures_and_costs(other_track):
    config = ("--config", f"track={other_track}")
    planned = jobs(snakemake(other_track.parent, "--dry-run", "everything", *config))
    found = load_track(str(other_track))
    tables = [load_ablation(name, found) for name in ablation_names(found)]
    assert {f"Train {run.id}" for table in tables for run in table.runs} < planned
    assert {f"Render {table.name}" for table in tables if table.measured} < planned
    assert {"Measure the cost of training steps", "Draw figures/errors"} < planned
    assert "Render instance_boxes" not in planned
    assert jobs(snakemake(other_track.parent, "--dry-run", *config)) > END


@pytest.mark.parametrize("target", ["instance_boxes", "results/toy/instance_boxes/table.md"])
def test_a_table_without_a_row_is_refused_before_anything_starts(other_track, target):
    config = ("--config", f"track={other_track}")
    printed = snakemake(other_track.parent, "--cores", "1", target, *config, fails=True)
    (line,) = (line for line in printed.splitlines() if line.startswith("error: "))
    assert "instance_boxes.yaml: rows: the track toy cannot have any of them" in line
    assert "expected a row that uses what the track has: detectors ['faster-rcnn']" in line
    assert "Traceback" not in printed
    assert not (other_track.parent / "results").exists()


def work(command: Callable[[], str]) -> tuple[str, float]:
    """What a command prints, and the seconds of processor time that it takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    printed = command()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return printed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.fixture(scope="module")
def least_work(tmp_path_factory: pytest.TempPathFactory) -> float:
    """Seconds of processor time that the plan of a single rule takes on this machine."""
    folder = tmp_path_factory.mktemp("single")
    (folder / "Snakefile").write_text('rule single:\n    output: "made"\n    shell: "touch made"\n')
    return work(lambda: snakemake(folder, "--dry-run", "-s", str(folder / "Snakefile")))[1]


def test_the_plan_of_the_mini_track_is_complete_and_fast(tmp_path, least_work):
    printed, seconds = work(lambda: snakemake(tmp_path, "--dry-run"))
    assert seconds < 5 * least_work
    expected = made(load_ablation("main", load_track("mini")))
    splits = ("pretrain", "train", "tune", "test")
    data = {*(f"Generate the split {split} of mini" for split in splits), "Check the data of mini"}
    assert jobs(printed) == END | expected | data
    assert [path.name for path in tmp_path.iterdir()] == [".snakemake"], "a plan makes nothing"


def test_all_tables_of_the_coco_track_are_planned_with_no_run_twice(tmp_path, least_work):
    track = load_track("coco", {"coco": str(tmp_path / "coco")})
    for split in ("train", "test"):
        track.images(split).mkdir(parents=True)
        track.annotations(split).parent.mkdir(exist_ok=True)
        track.annotations(split).touch()
    config = ("--config", "track=coco", f"coco={tmp_path / 'coco'}")
    printed, seconds = work(lambda: snakemake(tmp_path, "--dry-run", "everything", *config))
    assert seconds < 10 * least_work
    tables = [load_ablation(name, track) for name in ablation_names(track)]
    assert all(row.runs for table in tables for row in table.rows), "the paper's scale has all rows"
    trained = re.findall(r"^Job \d+: Train (.+)$", printed, re.M)
    assert len(trained) == len(set(trained))
    assert set(trained) == {run.id for table in tables for run in table.runs}


def test_exports_and_deployments_are_planned_where_they_are_asked_for(tmp_path):
    track = load_track("mini")
    table = load_ablation("backbones", track)
    student = table.row("resnet50_student").runs[0]
    target = f"{track.results}/runs/{student.id}/onnx.json"
    planned = jobs(snakemake(tmp_path, "--dry-run", "backbones", target))
    assert {f"Export {student.id}", f"Evaluate the exported {student.id}"} < planned
    measured = {f"Measure the deployment of {row.runs[0].id}" for row in table.rows if row.runs}
    assert {job for job in planned if job.startswith("Measure the deploy")} == measured


def test_annotations_of_a_scale_are_made_before_its_data_are_checked(tmp_path):
    """From a made-up VOCdevkit; the files of the training wait for them."""
    config = ("--config", "track=voc", f"voc={write_devkit(tmp_path / 'VOCdevkit')}")
    splits = {f"Make the annotations of the split {split} of voc" for split in ("train", "test")}
    assert jobs(snakemake(tmp_path, "--dry-run", *config)) >= {*splits, "Check the data of voc"}
    track = load_track("voc", {"voc": str(tmp_path / "VOCdevkit")})
    files = [str(track.annotations(split)) for split in ("train", "test")]
    assert jobs(snakemake(tmp_path, "--cores", "1", *files, *config)) == splits
    names = [json.loads((tmp_path / file).read_text())["images"][0]["file_name"] for file in files]
    assert names == ["VOC2007/JPEGImages/000005.jpg", "VOC2007/JPEGImages/000001.jpg"]
    assert not jobs(snakemake(tmp_path, "--cores", "1", *files, *config))
