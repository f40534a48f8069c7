"""What Slurm knows about a job that has ended."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

OUTAGE = re.compile(r"Unable to contact|Connection refused|timed out|temporarily unable", re.I)
EXITED = re.compile(r"exit (?:code|status) (\d+)")  # as srun and Snakemake say it


def content(log: Path | None) -> str:
    """What a job has printed; empty if that is unknown."""
    return log.read_text(errors="replace") if log and log.exists() else ""


def exit_statuses(job: str, printed: str) -> set[int]:
    """The exit statuses of a job and, if it printed them, of the commands that it ran."""
    code = record(job).get("ExitCode", "").partition(":")[0]
    return {int(number) for number in (*EXITED.findall(printed), *([code] if code else []))}


def met_outage(printed: str) -> bool:
    """Whether a job failed because ``srun`` got no answer from Slurm when it started."""
    lines = printed.splitlines()
    return any(line.startswith("srun: ") and OUTAGE.search(line) for line in lines)


def node_of(job: str) -> str:
    """The node that a job ran on; empty if it is unknown."""
    return record(job).get("NodeList", "").replace("(null)", "")


def record(job: str) -> dict[str, str]:
    """Slurm's record of a job by key; empty if Slurm does not answer."""
    command = ["scontrol", "show", "job", "--oneliner", job]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(re.findall(r"(\w+)=(\S+)", shown.stdout))
