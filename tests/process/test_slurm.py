"""The mended Slurm executor, on what the plugin and Slurm may say; tests/cluster has a Slurm."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.api import ExecutorPluginRegistry
from snakemake_executor_plugin_slurm import SubmittedJobInfo

from icd.process import slurm

FAILED = "SLURM-job '1' failed, SLURM status is: 'FAILED'. "
TIMEOUT = "SLURM-job '1' failed, SLURM status is: 'TIMEOUT'. "
RETRIES = 3


class Told(slurm.Executor):
    """An executor without a workflow, which notes what it tells Snakemake."""

    def __init__(self) -> None:
        self.over: set[str] = set()
        self.misses: Counter[str] = Counter()
        self.outages: Counter[Any] = Counter()
        self.saved: dict[Any, set[str]] = {}
        self.limits: dict[str, float] = {}
        self._failed_nodes: set[str] = set()
        self.run_uuid = "a"
        self.errors: list[str] = []
        self.logger = SimpleNamespace(info=lambda line: None, warning=lambda line: None)
        self.dag = SimpleNamespace(jobid=lambda job: 7)
        scheduler = SimpleNamespace(error_callback=lambda job: self.errors.append("repeated"))
        self.workflow = SimpleNamespace(scheduler=scheduler)

    def get_status_command(self) -> str:
        return "squeue"


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> Told:
    def report(executor: Told, job_info: SubmittedJobInfo, msg: str = "", **_: Any) -> None:
        executor.errors.append(msg)

    monkeypatch.setattr(slurm.plugin.Executor, "report_job_error", report)
    monkeypatch.setattr(slurm, "exit_statuses", lambda job, log: {1})
    monkeypatch.setattr(slurm, "node_of", lambda job: "n1")
    return Told()


@pytest.fixture
def job(tmp_path: Path) -> SubmittedJobInfo:
    (tmp_path / "work").mkdir()
    return SubmittedJobInfo(Job({"folder": tmp_path}), external_jobid="1", aux={})


@dataclass(eq=False)  # hashable, as Snakemake's
class Job:
    """A job after its first attempt."""

    params: dict[str, Path] = field(default_factory=dict)
    resources: Any = None
    attempt: int = 1
    restart_times: int = RETRIES


def answers(monkeypatch: pytest.MonkeyPatch, listed: dict[str, str] | None) -> None:
    """Let Slurm list these jobs, or nothing; the plugin then forgets all of them."""

    async def query(*_: Any) -> tuple[Any, Any]:
        return (listed, None if listed is None else 0.1)

    async def check(executor: Told, jobs: list) -> AsyncIterator[SubmittedJobInfo]:
        return
        yield

    monkeypatch.setattr(slurm.plugin, "query_job_status", query)
    monkeypatch.setattr(slurm.plugin.Executor, "check_active_jobs", check)


def still_active(executor: Told, job: SubmittedJobInfo) -> bool:
    async def collect() -> list[SubmittedJobInfo]:
        return [info async for info in executor.check_active_jobs([job])]

    return asyncio.run(collect()) == [job]


def test_no_answer_loses_no_job(
    executor: Told, job: SubmittedJobInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, None)
    for _ in range(2 * slurm.MISSES):
        assert still_active(executor, job)


def test_an_error_of_the_plugin_loses_no_job(
    executor: Told, job: SubmittedJobInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(slurm.plugin.Executor, "check_active_jobs", broken)
    assert still_active(executor, job)


def test_a_job_that_slurm_has_forgotten_has_ended(
    executor: Told, job: SubmittedJobInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, {"1": "RUNNING"})
    assert all(still_active(executor, job) for _ in range(2 * slurm.MISSES))
    answers(monkeypatch, {"2": "RUNNING"})
    assert [still_active(executor, job) for _ in range(slurm.MISSES)] == [True, True, False]
    assert "forgotten" in executor.errors[0]


def test_a_stop_at_the_walltime_uses_up_no_retry_if_the_training_goes_on(
    executor: Told, job: SubmittedJobInfo, tmp_path: Path
) -> None:
    executor.saved[job.job] = slurm.checkpoints(job.job)
    (tmp_path / "work/iter_2.pth").touch()
    executor.report_job_error(job, TIMEOUT)
    assert executor.errors == ["repeated"], "and no error is shown"
    assert job.job.attempt + 1 == 1, "Snakemake adds one"


def test_a_stop_at_the_walltime_without_progress_is_a_failure(
    executor: Told, job: SubmittedJobInfo
) -> None:
    executor.saved[job.job] = slurm.checkpoints(job.job)
    executor.report_job_error(job, TIMEOUT)
    assert executor.errors == [TIMEOUT]
    assert job.job.attempt == 1


def test_a_submission_during_an_outage_uses_up_no_retry(
    executor: Told, job: SubmittedJobInfo
) -> None:
    message = "SLURM sbatch failed. The error message was 'Unable to contact slurm controller'."
    executor.report_job_error(SubmittedJobInfo(job.job), message)
    assert executor.errors == ["repeated"]
    assert executor.outage, "the next submission waits"


@pytest.mark.parametrize("line", ["srun: error: Unable to confirm allocation for job 1: {}", "{}"])
def test_a_job_that_starts_during_an_outage_uses_up_no_retry(
    executor: Told, job: SubmittedJobInfo, tmp_path: Path, line: str
) -> None:
    """Where the node never reaches Slurm, this must end. A program may print the same words."""
    (tmp_path / "log").write_text(
        line.format("Unable to contact slurm controller (connect failure)\n")
    )
    job.aux["slurm_logfile"] = tmp_path / "log"
    for _ in range(slurm.OUTAGES + 1):
        executor.report_job_error(job, msg=FAILED)
    repeated = slurm.OUTAGES if line.startswith("srun") else 0
    assert executor.errors == ["repeated"] * repeated + [FAILED] * (slurm.OUTAGES + 1 - repeated)


def test_an_error_while_submitting_is_noticed(
    executor: Told, job: SubmittedJobInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("sinfo: Unable to contact slurm controller")

    executor.outage, executor._main_event_loop = False, None
    monkeypatch.setattr(executor, "get_partition_arg", broken)
    job.job.resources = {}
    executor.run_job(job.job)
    assert executor.errors == ["repeated"]


def test_a_refused_submission_is_a_failure(executor: Told, job: SubmittedJobInfo) -> None:
    executor.report_job_error(SubmittedJobInfo(job.job), "sbatch: error: invalid partition")
    assert executor.errors == ["sbatch: error: invalid partition"]
    assert job.job.attempt == 1


@pytest.mark.parametrize("status", [126, 127])
def test_a_node_without_the_program_is_avoided(
    executor: Told, job: SubmittedJobInfo, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(slurm, "exit_statuses", lambda job, log: {1, status})
    executor.report_job_error(job, FAILED)
    assert executor._failed_nodes == {"n1"}
    assert job.job.attempt <= RETRIES, "it is tried elsewhere"


def test_bad_input_is_not_tried_again(
    executor: Told, job: SubmittedJobInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "exit_statuses", lambda job, log: {1, slurm.BAD_INPUT})
    executor.report_job_error(job, FAILED)
    assert job.job.attempt > RETRIES
    assert executor._failed_nodes == set()


@pytest.mark.parametrize(
    ("partition", "wanted", "submitted"),
    [
        ("gpu", 100, 60),
        ("gpu", 50, 50),
        ("", 100, 100),
        ("long", 100, 100),
        ("short", 100, 10),
        ("short,gpu", 100, 60),
        ("short,long", 100, 100),
    ],
)
def test_walltime_ends_at_the_limit_of_the_partition(
    executor: Told, partition: str, wanted: int, submitted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Resources(SimpleNamespace):
        def get(self, name: str) -> Any:
            return getattr(self, name)

    argument = f" -p '{partition}'" if partition else ""
    monkeypatch.setattr(executor, "get_partition_arg", lambda job: argument)
    executor.limits = {"gpu": 60, "long": math.inf, "short": 10}
    job = Job(resources=Resources(runtime=wanted))
    executor.limit_walltime(job)
    assert job.resources.runtime == submitted


def test_a_slow_scontrol_does_not_change_the_way_of_asking() -> None:
    """The plugin asks it in each round and then asks sacct, which may not answer at all."""
    asked: list[int | None] = [None, 10]
    age = slurm.remembered(lambda: asked.pop(0))
    assert [age(), age()] == [slurm.ASSUMED_JOB_AGE] * 2


def test_snakemake_uses_it() -> None:
    slurm.mend()
    assert ExecutorPluginRegistry().get_plugin("slurm").executor is slurm.Executor
