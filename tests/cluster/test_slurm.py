"""The pipeline on a real Slurm with two nodes and four fake GPUs, on this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from icd.experiments.ablation import load_ablation
from icd.experiments.run import Run
from icd.experiments.track import load_track
from icd.experiments.yaml_files import ROOT, WORKFLOW
from tests.cluster import slurm

REASON = slurm.missing()
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
]

DOUBLE, GPUS, IMPATIENT = (
    Path(__file__).with_name(name) for name in ("python_double.py", "fake_gpus.py", "impatient.py")
)
BAD_INPUT = 2  # exit status of `icd`
OUTAGE = 25  # seconds; Slurm's programs give up after 9
PATIENCE = 600  # seconds until something hangs, and is not just slow beside other work
TRAININGS = ("train", "train_source", "train_distilled")
# A GPU for each training, which the CPU has to do without: use_gpus hides it.
A_GPU = ["--set-resources", *(f"{rule}:gpu=1" for rule in TRAININGS)]
# What a training says that was asked to stop.
SAVED = re.compile(
    r"interrupted by SIGTERM after (\d+) of 12 iterations; state saved in \S+_\1\.pth"
)
# The GPUs of a node, as nvidia-smi lists them there.
NAMES = [f"GPU-$SLURMD_NODENAME-{number}" for number in range(slurm.GPUS)]


def small_track() -> dict:
    """The mini track with few and small images, slim models and a dozen iterations."""
    content = yaml.safe_load((WORKFLOW / "tracks/mini.yaml").read_text())
    content["name"] = "small"
    content["data"] = {
        "synthetic": {"seed": 0, "image_size": 64},
        "splits": {"train": 24, "test": 8},
    }
    for name, width in (("resnet18-w16", 8), ("resnet18-w8", 4)):
        content["backbones"][name]["backbone"]["base_channels"] = width
        stages = [width, 2 * width, 4 * width, 8 * width]
        content["backbones"][name]["neck"] = {"in_channels": stages}
    model = content["detectors"]["retinanet"]["model"]
    model["neck"]["out_channels"] = 16
    model["bbox_head"] |= {"in_channels": 16, "feat_channels": 16, "stacked_convs": 1}
    model["bbox_head"]["norm_cfg"] = {"type": "GN", "num_groups": 4}
    content["methods"]["icd"]["options"] |= {"heads": 2, "warmup": 1}
    content["images"]["scale"] = [64, 64]
    content["recipe"] |= {"unit": 12, "batch_size": 4, "ramp": 0}
    roles = content["roles"]
    roles["student"].pop("pretrained")
    roles["teacher"]["schedule"] = roles["student"]["schedule"] = "1x"
    content["seeds"] = [0]
    content["machine"] = {"threads": 1, "checkpoint_every": 2, "memory": 2000}
    return content


class Project:
    """A folder whose pipeline runs on the cluster."""

    def __init__(self, folder: Path, track: dict, controller: slurm.Controller) -> None:
        self.controller = controller
        self.folder, self.plan, self.programs = folder, folder / "plan", folder / "bin"
        self.started: list[subprocess.Popen] = []
        self.plan.mkdir(parents=True)
        self.programs.mkdir()
        self.program("python", f"#!{sys.executable}\n" + DOUBLE.read_text())
        self.program("nvidia-smi", f"#!/bin/sh\nprintf '%s\\n' {' '.join(NAMES)}\n")
        self.program("sitecustomize.py", GPUS.read_text())
        self.track = folder / "small.yaml"
        self.track.write_text(yaml.safe_dump(track, sort_keys=False))
        self.ablation = load_ablation("main", load_track(str(self.track)))

    def program(self, name: str, content: str) -> None:
        """A program that jobs find before those of the system."""
        (self.programs / name).write_text(content)
        (self.programs / name).chmod(0o755)

    def run(self, row: str) -> Run:
        """The only run of a row."""
        (run,) = next(found for found in self.ablation.rows if found.id == row).runs
        return run

    def path(self, row: str, name: str = "") -> Path:
        return self.folder / self.run(row).folder / name

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start Snakemake, as a user would on the login node."""
        command = [sys.executable, str(IMPATIENT), "-s", str(ROOT / "Snakefile")]
        config = ["--directory", str(self.folder), "--config", f"track={self.track}"]
        extra = {
            "PATH": f"{self.programs}:{slurm.search_path()}",
            "PYTHONPATH": f"{self.programs}:{ROOT}",
            "ICD_TEST_PLAN": str(self.plan),
        }
        process = subprocess.Popen(
            [*command, *arguments, *config],
            env=os.environ | extra | {"OMP_NUM_THREADS": "1"},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def submit(self, *arguments: str) -> subprocess.Popen:
        """The same with the cluster's profile, but for what makes it wait."""
        profile = ["--workflow-profile", str(ROOT / "profiles/slurm"), "--retries", "1"]
        polling = ["--slurm-init-seconds-before-status-checks", "1"]
        polling += ["--slurm-status-attempts", "1", "--latency-wait", "10"]
        return self.start(*arguments, *profile, *polling)

    def weights(self, *rows: str) -> list[str]:
        """What to ask Snakemake for, if runs are to be trained."""
        return [str(self.run(row).folder / "model.pth") for row in rows]

    def fail(self, row: str, status: int) -> None:
        """Let each training of a run fail at once."""
        (self.plan / f"{self.run(row).id}.fail").write_text(str(status))

    def lose(self, row: str) -> Path:
        """Let the node where the training of a run starts first have no Python."""
        file = self.plan / f"{self.run(row).id}.lost"
        file.touch()
        return file

    def pause(self, row: str) -> None:
        """Let the next training of a run pause."""
        (self.plan / f"{self.run(row).id}.paused").unlink(missing_ok=True)
        (self.plan / f"{self.run(row).id}.pause").touch()

    def wait_for_pause(self, row: str) -> str:
        """Wait until it does; its job."""
        file = self.plan / f"{self.run(row).id}.paused"
        slurm.wait(file.exists, PATIENCE, "paused training")
        return file.read_text()

    def attempts(self, row: str) -> list[dict]:
        """The records of a run's trainings."""
        return [each for each in self.records("train") if each["run"] == self.run(row).id]

    def logs(self, row: str) -> set[Path]:
        """The logs of a run's trainings."""
        return set(self.path(row, "logs").glob("train-*.log"))

    def records(self, command: str) -> list[dict]:
        """What python_double.py has noted."""
        lines = (self.plan / "records").read_text().splitlines()
        return [found for found in map(json.loads, lines) if found["command"] == command]


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    # Not pytest's own folder, which is closed to others: Slurm's daemons write there.
    with tempfile.TemporaryDirectory(prefix="icd-slurm-") as folder:
        (Path(folder) / "slurm").mkdir()
        with slurm.cluster(Path(folder) / "slurm") as controller:
            made = Project(Path(folder) / "project", small_track(), controller)
            yield made
            for process in made.started:
                process.kill()


@pytest.fixture(scope="module")
def cancelled(project: Project) -> str:
    """What is printed when one run fails, and the user stops the workflow while another trains."""
    prepare = project.submit("results/small/data.json")
    printed, _ = prepare.communicate(timeout=PATIENCE)
    assert prepare.returncode == 0, printed
    project.fail("student", 1)
    project.pause("icd")
    workflow = project.submit(*project.weights("student", "student_inherit", "icd"), *A_GPU)
    project.wait_for_pause("icd")
    for _ in range(2):  # some press Ctrl-C twice
        workflow.send_signal(signal.SIGINT)
        time.sleep(0.5)
    printed, _ = workflow.communicate(timeout=PATIENCE)
    assert workflow.returncode != 0, printed
    return printed


@pytest.fixture(scope="module")
def pair(project: Project, cancelled: str) -> Iterator[Project]:
    """Where a run on two GPUs is in the queue meanwhile."""
    track = small_track()
    track["machine"]["gpus"] = 2
    made = Project(project.folder.with_name("pair"), track, project.controller)
    shutil.copytree(project.folder / "data", made.folder / "data")
    shutil.copytree(project.folder / "results", made.folder / "results", ignore=runs)
    slurm.wait(lambda: slurm.ask("squeue", "-h") == "", PATIENCE, "empty queue")
    made.submit(*made.weights("student"))
    yield made
    made.started[0].kill()


def runs(folder: str, names: list[str]) -> set[str]:
    """What not to copy of a folder of results."""
    return {"runs"} & set(names)


@pytest.fixture(scope="module")
def continued(project: Project, cancelled: str, pair: Project) -> str:
    """What is printed by the same command then, when Slurm, nodes and runs fail meanwhile.

    Slurm does not answer for a while, the walltime of one run ends, a node has no Python, and one
    run cannot succeed.
    """
    project.pause("icd")
    project.lose("icd_inherit")
    project.fail("student", BAD_INPUT)
    rows = ("student", "student_inherit", "icd", "icd_inherit")
    short = [f"{rule}:slurm_partition=short" for rule in TRAININGS]
    workflow = project.submit(*project.weights(*rows), *A_GPU, *short)
    job = project.wait_for_pause("icd")
    project.controller.stop()
    time.sleep(OUTAGE)
    project.controller.start()
    slurm.ask("scontrol", "update", f"JobId={job}", "TimeLimit=1")  # Slurm counts in minutes
    printed, _ = workflow.communicate(timeout=PATIENCE)
    assert workflow.returncode != 0, "the student cannot be trained"
    return printed


def test_a_failed_job_names_its_log(project: Project, cancelled: str) -> None:
    log = project.run("student").folder / "train.log"
    assert re.search(rf"log: {re.escape(str(log))}.*check log file", cancelled)
    assert "broken on purpose" in cancelled, "and it is shown"
    named = re.findall(r"log of this attempt: (\S+-job(\d+)\.log)", cancelled)
    assert len({job for _, job in named}) == 2, "each attempt has one"
    for file, _ in named:
        assert (project.folder / file).read_text() == "broken on purpose\n"
    of_slurm = re.search(r"SLURM status is: 'FAILED'.*?(/\S+/slurm_logs/\S+\.log)", cancelled, re.S)
    assert of_slurm
    assert Path(of_slurm[1]).exists()
    attempts = [found["run"] for found in project.records("train")]
    assert attempts.count(project.run("student").id) == 2, "it was retried"


def test_a_cancelled_workflow_takes_its_jobs_along(project: Project, cancelled: str) -> None:
    slurm.wait(lambda: slurm.ask("squeue", "-h") == "", PATIENCE, "empty queue")
    states = slurm.ask("squeue", "-h", "--states=all", "-o", "%T").split()
    assert set(states) == {"COMPLETED", "FAILED", "CANCELLED"}
    # Slurm forgets the job before its training has saved its state.
    slurm.wait(lambda: bool(project.attempts("icd")), PATIENCE, "record of the training")
    assert project.attempts("icd")[0]["status"] == 128 + signal.SIGTERM
    assert SAVED.search(project.path("icd", "train.log").read_text())
    assert "Traceback" not in cancelled
    assert "sacct" not in cancelled, "there is no accounting here"
    assert "SLURM account" not in cancelled
    assert project.path("teacher", "metrics.json").exists(), "what was done stays"


def test_what_a_job_asks_for_is_what_the_run_needs(project: Project, cancelled: str) -> None:
    job = slurm.ask("scontrol", "show", "job", project.attempts("icd")[0]["job"])
    assert "MinCPUsNode=1 MinMemoryNode=2000M" in job
    assert "NumNodes=1 " in job
    assert "TimeLimit=00:21:00" in job  # 12 iterations of a second, and what any run takes
    assert re.search(r"TresPerJob=gres.gpu:1$", job, re.M)


def test_a_run_that_its_walltime_stops_resumes_when_retried(
    project: Project, continued: str
) -> None:
    assert "its walltime is over and its state saved; it resumes" in continued
    assert "TIMEOUT" not in continued, "it is no error"
    cancelled, stopped, finished = project.attempts("icd")
    assert [stopped["status"], finished["status"]] == [128 + signal.SIGTERM, 0]
    assert len({found["job"] for found in (cancelled, stopped, finished)}) == 3
    assert project.path("icd", "model.pth").exists()
    logs = [file.read_text() for file in sorted(project.path("icd", "work").glob("2*/*.log"))]
    resumed = [
        int(number)
        for log in logs[1:]
        for number in re.findall(r"resumed epoch: 0, iter: (\d+)", log)
    ]
    assert 2 <= resumed[0] < resumed[1] < 12, "each attempt goes on where the one before stopped"
    (log,) = (log for log in project.logs("icd") if log.stem.endswith(f"job{stopped['job']}"))
    saved = {int(found[1]) for found in SAVED.finditer(log.read_text())}
    assert saved == {resumed[1]}, "with the state that it saved when its time was up"


def test_a_training_is_submitted_with_the_walltime_that_its_partition_allows(
    project: Project, continued: str
) -> None:
    assert f"needs 21 minutes and its partition allows {slurm.SHORT}" in continued
    finished = project.attempts("icd")[-1]
    assert "TimeLimit=00:15:00" in slurm.ask("scontrol", "show", "job", finished["job"])


def test_a_node_that_cannot_run_a_job_gets_no_further_ones(
    project: Project, continued: str
) -> None:
    lost, finished = project.attempts("icd_inherit")
    assert [lost["status"], finished["status"]] == [127, 0]
    assert lost["node"] != finished["node"]
    assert f"The node {lost['node']} gets no further jobs" in continued


def test_what_cannot_succeed_is_not_retried(project: Project, continued: str) -> None:
    assert [found["status"] for found in project.attempts("student")] == [1, 1, BAD_INPUT]
    assert "Another attempt would fail, too" in continued


def test_an_outage_of_slurm_loses_no_job(project: Project, continued: str) -> None:
    """The workflow would wait for ever for the jobs that it forgot."""
    for row in ("student_inherit", "icd", "icd_inherit"):
        assert project.path(row, "model.pth").exists()


def test_each_training_has_a_gpu_of_its_own(project: Project, continued: str) -> None:
    trained = project.records("train")
    for found in trained:
        assert int(found["gpus"]) in range(slurm.GPUS), "one number, of a GPU of the node"
    together = 0
    for one, other in combinations(trained, 2):
        apart = one["span"][1] <= other["span"][0] or other["span"][1] <= one["span"][0]
        assert apart or (one["node"], one["gpus"]) != (other["node"], other["gpus"])
        together += not apart
    assert together, "some trainings have run at the same time"
    assert {found["gpus"] for found in project.records("evaluate")} == {""}


def test_a_run_on_two_gpus_is_one_job_with_a_process_on_each(pair: Project) -> None:
    printed, _ = pair.started[0].communicate(timeout=PATIENCE)
    assert pair.started[0].returncode == 0, printed
    (attempt,) = pair.attempts("student")
    assert attempt["status"] == 0
    job = slurm.ask("scontrol", "show", "job", attempt["job"])
    assert re.search(r"TresPerJob=gres.gpu:2$", job, re.M)
    assert "NumNodes=1 " in job
    mine = [f"GPU-{attempt['node']}-{number}" for number in attempt["gpus"].split(",")]
    assert len(set(mine)) == 2
    processes = [json.loads(line) for line in (pair.plan / "processes").read_text().splitlines()]
    assert sorted(found["gpu"] for found in processes) == sorted(mine)
    assert {found["job"] for found in processes} == {attempt["job"]}
    run = pair.run("student").id
    config = json.loads((pair.folder / f"results/small/runs/{run}/config.json").read_text())
    assert config["train_dataloader"]["batch_size"] == 2, "half of a batch of four"


def test_a_second_pipeline_on_the_same_results_leaves_a_finished_run(
    project: Project, continued: str, pair: Project
) -> None:
    """Snakemake deletes the outputs of its job before and after, whoever has made them."""
    (project.plan / f"{project.run('student').id}.fail").unlink()
    clone = Project(project.folder.with_name("clone"), small_track(), project.controller)
    for name in ("data", "results"):
        (clone.folder / name).symlink_to(project.folder / name)
    project.pause("student")
    first = project.submit(*project.weights("student"), *A_GPU)
    project.wait_for_pause("student")
    logs = project.logs("student")
    second = clone.submit(*clone.weights("student"), *A_GPU)
    slurm.wait(lambda: project.logs("student") > logs, PATIENCE, "second training")
    (project.plan / f"{project.run('student').id}.go").touch()
    for workflow in (first, second):
        printed, _ = workflow.communicate(timeout=PATIENCE)
        assert workflow.returncode == 0, printed
    assert [found["status"] for found in clone.attempts("student")] == [0]
    (log,) = project.logs("student") - logs
    assert "was finished" in log.read_text(), "it was not trained again"
    assert project.path("student", "model.pth").exists()
