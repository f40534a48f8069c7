"""The partitions of a Slurm cluster and what they allow, as ``sinfo`` says."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

UNLIMITED = math.inf
COMMAND = ["sinfo", "-h", "-o", "%P %l %m %G"]
SECONDS = 20  # to wait for sinfo
PROFILE = Path("profiles/slurm/config.yaml")


@dataclass(frozen=True)
class Nodes:
    """Alike nodes of a partition.

    partition: its name.
    minutes: longest walltime of a job.
    megabytes: memory of a node.
    gpus: GPUs of a node.
    """

    partition: str
    minutes: float
    megabytes: float
    gpus: float


@dataclass(frozen=True)
class Job:
    """What a job requests.

    name: what it does, for messages.
    """

    name: str
    minutes: int
    megabytes: int
    gpus: int


def all_nodes() -> list[Nodes]:
    """The nodes of all partitions; empty without Slurm."""
    try:
        output = subprocess.run(
            COMMAND, capture_output=True, text=True, check=True, timeout=SECONDS
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [nodes for line in output.splitlines() if (nodes := parse(line))]


def parse(line: str) -> Nodes | None:
    """One line of sinfo: partition, walltime, memory and generic resources; None if it is none.

    What cannot be read counts as unlimited.
    """
    fields = line.split(maxsplit=3)
    if len(fields) < 3:
        return None
    name, limit, memory, resources = [*fields, "(null)"][:4]
    number = re.match(r"\d+", memory)  # of nodes that differ, the smallest and a plus
    megabytes = float(number[0]) if number else UNLIMITED
    return Nodes(name.removesuffix("*"), minutes(limit), megabytes, _gpus(resources))


def minutes(limit: str) -> float:
    """A walltime of Slurm in minutes: ``30``, ``30:00``, ``8:00:00``, ``2-00``, ``infinite``."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", limit)
    if not match:
        return UNLIMITED
    days, *rest = (int(part) if part else 0 for part in match.groups())
    if match[1] is not None or match[4] is not None:
        hours, mins, seconds = rest
        return days * 1440 + hours * 60 + mins + seconds / 60
    return rest[0] + rest[1] / 60


def _gpus(resources: str) -> float:
    """GPUs of a node, e.g. of ``gpu:a100:4(S:0-1),gpu:t4:2``."""
    plain = re.sub(r"\([^)]*\)", "", resources)
    parts = [part.split(":") for part in plain.split(",") if part.startswith("gpu")]
    return sum(int(part[-1]) if part[-1].isdigit() else 1 for part in parts)


def partition_of_profile(file: Path = PROFILE) -> str | None:
    """The partition that a Snakemake profile names, if any."""
    if not file.is_file():
        return None
    content = yaml.safe_load(file.read_text()) or {}
    chosen = (content.get("default-resources") or {}).get("slurm_partition")
    return chosen and str(chosen).strip("'\"")


def warnings(
    jobs: Sequence[Job], nodes: Sequence[Nodes], partition: str | None = None
) -> list[str]:
    """What a cluster does not allow, one line each; empty without Slurm.

    Args:
        jobs: what is requested.
        nodes: all nodes of the cluster.
        partition: the only one to use; default: any.
    """
    if not nodes:
        return []
    usable = [one for one in nodes if partition in (None, one.partition)]
    if not usable:
        known = ", ".join(sorted({one.partition for one in nodes}))
        return [f"sinfo knows no partition {partition!r}; it lists {known}"]
    return [problem for job in jobs if (problem := _problem(job, usable))]


def _problem(job: Job, nodes: Sequence[Nodes]) -> str | None:
    """Why a job does not fit on any of these nodes, or why it takes several jobs; or None."""
    names = ", ".join(dict.fromkeys(one.partition for one in nodes))
    large = [one for one in nodes if one.megabytes >= job.megabytes and one.gpus >= job.gpus]
    if not large:
        gpus = f" and {job.gpus} GPU{'s' * (job.gpus > 1)}" if job.gpus else ""
        return f"{job.name}: no node of {names} has {job.megabytes} MB{gpus}"
    longest = max(one.minutes for one in large)
    if longest >= job.minutes:
        return None
    return (
        f"{job.name}: needs {clock(job.minutes)}, but {names} allows {clock(longest)}; the run is"
        " stopped at the limit and resumes in the next job"
    )


def clock(amount: float) -> str:
    """Minutes as hours and minutes, e.g. 112:50."""
    return f"{int(amount) // 60}:{int(amount) % 60:02}"
