"""Snakemake's Slurm executor, mended: it keeps its jobs through outages and retries with reason.

The plugin (2.6.1 and 2.8.0) has these faults, each of which a method below mends:

- If Slurm does not answer five queries in a row, it forgets all jobs and waits for ever.
- If ``scontrol`` takes more than 10 seconds, it asks ``sacct`` even where nothing answers that.
- It waits for ever for a job that Slurm has forgotten, e.g. because it ended during an outage.
- Ctrl-C does not cancel jobs that are being queried or submitted.
- A job that starts during an outage ends at once, because ``srun`` gets no answer.
- Each failure uses up a retry and is retried, whatever its reason. Nodes that cannot run any job
  get further jobs.
- A job that asks for more than its partition allows stays in the queue.
"""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import snakemake_executor_plugin_slurm as plugin
from snakemake.api import ExecutorPluginRegistry
from snakemake_executor_plugin_slurm import SubmittedJobInfo, query_job_status_squeue

from icd.process.partitions import UNLIMITED, all_nodes
from icd.process.signals import SIGNALS
from icd.process.slurm_jobs import OUTAGE, content, exit_statuses, met_outage, node_of

ASSUMED_JOB_AGE = 300  # seconds that Slurm remembers a job by default
MISSES = 3  # queries in a row that do not list a job, until it counts as forgotten
SECONDS_BETWEEN_TRIES = 10.0
TRIES = 12  # to cancel jobs
OUTAGES = 3  # of a job that use up no retry, until they count as failures
BAD_INPUT, NOT_EXECUTABLE, NOT_FOUND = 2, 126, 127  # exit statuses: of `icd`, and of shells
LOST = ("NODE_FAIL", "BOOT_FAIL")  # jobs whose node failed
STATUS = re.compile(r"SLURM status is: '(\w+)'")
NO_REASON = "Detailed failure reason unavailable (status command is not 'sacct')."


def mend() -> None:
    """Let Snakemake use this executor for Slurm."""
    plugin.get_min_job_age = remembered(plugin.get_min_job_age)
    ExecutorPluginRegistry().get_plugin("slurm").executor = Executor


def remembered(ask: Callable[[], int | None]) -> Callable[[], int]:
    """Ask Slurm once only how long it remembers jobs; if it is too slow, assume its default."""

    @cache
    def seconds() -> int:
        return ask() or ASSUMED_JOB_AGE

    return seconds


class Executor(plugin.Executor):
    """Submits jobs to Slurm and watches them."""

    def __init__(self, workflow: Any, logger: Any) -> None:
        self.over: set[str] = set()  # jobs that have ended, by Slurm's number
        self.misses: Counter[str] = Counter()
        self.outages: Counter[Any] = Counter()  # by job
        self.saved: dict[Any, set[str]] = {}  # checkpoints when a job was submitted
        self.limits = {nodes.partition: nodes.minutes for nodes in all_nodes()}
        self.outage = False
        super().__init__(workflow, logger)  # starts the thread of the queries

    def __post_init__(self, test_mode: bool = False) -> None:
        super().__post_init__(test_mode)
        self._fallback_account_arg = ""  # the plugin guesses it with options that sacct refuses

    def run_job(self, job: Any) -> None:
        """Submit a job with no more walltime than its partition allows."""
        if self.outage:
            time.sleep(SECONDS_BETWEEN_TRIES)
            self.outage = False
        try:
            self.limit_walltime(job)
            self.saved[job] = checkpoints(job)
            super().run_job(job)
        except Exception as error:  # nobody would notice it: this runs in a thread
            self._report_job_error_threadsafe(SubmittedJobInfo(job), f"Not submitted: {error}")

    def limit_walltime(self, job: Any) -> None:
        """Reduce the walltime to the limit of the job's partition; a training then resumes."""
        wanted, names = job.resources.get("runtime"), shlex.split(self.get_partition_arg(job))[1:]
        limits = [self.limits.get(name, UNLIMITED) for name in ",".join(names).split(",")]
        if not isinstance(wanted, int) or wanted <= max(limits):
            return
        job.resources.runtime = allowed = int(max(limits))
        self.logger.info(
            f"Job {self.dag.jobid(job)} needs {wanted} minutes and its partition allows "
            f"{allowed}: submitted with these. A training then saves its state and resumes."
        )

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncIterator[SubmittedJobInfo]:
        """Report jobs that have ended and yield all others, whether Slurm answers or not."""
        self.over.clear()
        try:
            async for _ in super().check_active_jobs(active_jobs):
                pass  # it yields none of them if Slurm does not answer
            await self.report_forgotten(active_jobs)
        except Exception as error:  # would end the thread of the queries
            self.logger.warning(f"The state of the jobs is unknown, asking again later: {error!r}")
        for info in active_jobs:
            if info.external_jobid not in self.over:
                yield info

    async def report_forgotten(self, jobs: list[SubmittedJobInfo]) -> None:
        """Report jobs that Slurm has not listed several times as failed.

        Nobody knows whether they have succeeded. Repeating them is safe: a finished training
        restores its results.
        """
        left = [info for info in jobs if info.external_jobid not in self.over]
        if not left or self.get_status_command() != "squeue":
            return
        listed, _ = await plugin.query_job_status(
            query_job_status_squeue(self.run_uuid), self.logger
        )
        if listed is None:  # no answer
            return
        for info in left:
            name = info.external_jobid
            is_listed = {name, name.split("_")[0]} & listed.keys()  # tasks of arrays are not
            self.misses[name] = 0 if is_listed else self.misses[name] + 1
            if self.misses[name] >= MISSES:
                message = f"Slurm has forgotten the job {name}: it ended during an outage. "
                self.report_job_error(info, msg=message)

    def report_job_success(self, job_info: SubmittedJobInfo) -> None:
        """Note that the job has ended."""
        self.over.add(job_info.external_jobid)
        super().report_job_success(job_info)

    def report_job_error(
        self, job_info: SubmittedJobInfo, msg: str | None = None, **details: Any
    ) -> None:
        """Decide whether the job is worth another attempt, and whether that uses up a retry."""
        job, text, advice = job_info.job, (msg or "").replace(NO_REASON, ""), ""
        if (name := job_info.external_jobid) is None:  # it was not submitted
            if OUTAGE.search(text):
                self.outage = True
                return self.repeat(job, "Slurm does not answer; it will be asked again")
            return super().report_job_error(job_info, msg=text, **details)
        self.over.add(name)
        status = found[1] if (found := STATUS.search(text)) else ""
        if status == "TIMEOUT" and checkpoints(job) != self.saved.get(job):
            return self.repeat(job, "its walltime is over and its state saved; it resumes")
        printed = content((job_info.aux or {}).get("slurm_logfile"))
        if met_outage(printed) and self.outages[job] < OUTAGES:
            self.outage = True
            self.outages[job] += 1
            return self.repeat(job, "Slurm did not answer it; it will be submitted again")
        exited = exit_statuses(name, printed)
        if exited & {NOT_FOUND, NOT_EXECUTABLE} or status in LOST:
            advice = self.avoid(node_of(name))
        elif BAD_INPUT in exited:
            job.attempt = job.restart_times + 1
            advice = "Another attempt would fail, too: see the message in its log. "
        super().report_job_error(job_info, msg=advice + text, **details)

    def repeat(self, job: Any, reason: str) -> None:
        """Submit a job again, without using up a retry."""
        self.logger.info(f"Job {self.dag.jobid(job)}: {reason}.")
        job.attempt -= 1  # Snakemake adds one
        self.workflow.scheduler.error_callback(job)

    def avoid(self, node: str) -> str:
        """Exclude a node from further jobs, and say so."""
        if not node:
            return ""
        self._failed_nodes.add(node)
        return f"The node {node} gets no further jobs: it failed or lacks a program. "

    def cancel(self) -> None:
        """Cancel all jobs, those that are being queried or submitted included."""
        ignore_further_interrupts(self.logger.info)
        self._job_submission_executor.shutdown(wait=True, cancel_futures=True)
        self.cancel_jobs([])
        with self.lock:
            self.wait = False  # ends the thread of the queries, which may sleep for minutes
        shutil.rmtree(self.tmpdir, ignore_errors=True)

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Cancel all jobs of this workflow by their common name, also after an outage."""
        command = ["scancel", f"--name={self.run_uuid}"]
        for _ in range(TRIES):
            with suppress(subprocess.TimeoutExpired):
                if subprocess.run(command, timeout=60).returncode == 0:
                    return
            self.logger.info("Slurm does not answer; trying again to cancel the jobs.")
            time.sleep(SECONDS_BETWEEN_TRIES)
        self.logger.error(f"The jobs are not cancelled. Once Slurm answers: {' '.join(command)}")


def ignore_further_interrupts(say: Callable[[str], None]) -> None:
    """From now on, Ctrl-C only prints a line, so that it leaves neither jobs nor a traceback."""

    def answer(*_: object) -> None:
        say("The workflow is ending. Please wait.")

    for number in SIGNALS:
        signal.signal(number, answer)


def checkpoints(job: Any) -> set[str]:
    """Names of a training's checkpoints; empty for other jobs."""
    folder = getattr(job, "params", {}).get("folder")
    return {file.name for file in Path(folder, "work").glob("iter_*.pth")} if folder else set()
