"""What a Slurm cluster allows, read from what sinfo prints."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from icd.process.partitions import Job, Nodes, all_nodes, parse, partition_of_profile, warnings

SINFO = """\
debug* 30:00 16000+ (null)
gpu 2-00:00:00 512000 gpu:a100:4(S:0-1)
gpu 2-00:00:00 256000 gpu:a100:2(S:0),gpu:t4:1(S:1)
long infinite 128000 gpu:2
"""
DEBUG = Nodes("debug", 30, 16000, 0)
LARGE, MIXED = Nodes("gpu", 2880, 512000, 4), Nodes("gpu", 2880, 256000, 3)
LONG = Nodes("long", math.inf, 128000, 2)
NODES = [DEBUG, LARGE, MIXED, LONG]


def test_every_line_of_sinfo_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "sinfo"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{SINFO}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert all_nodes() == NODES


@pytest.mark.parametrize("script", [None, "exit 1", "echo; echo gpu"])
def test_without_a_slurm_that_answers_there_are_no_nodes(
    script: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if script:
        (tmp_path / "sinfo").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "sinfo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin" if script else str(tmp_path))
    assert all_nodes() == []
    assert warnings([Job("a run", 10**6, 10**6, 8)], []) == []


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("30", 30),
        ("30:30", 30.5),
        ("8:00:00", 480),
        ("2-00", 2880),
        ("1-12:30", 2190),
        ("1-00:00:30", 1440.5),
        ("infinite", math.inf),
        ("n/a", math.inf),
    ],
)
def test_walltimes_of_slurm(limit: str, expected: float) -> None:
    found = parse(f"p {limit} 1000 (null)")
    assert found
    assert found.minutes == expected


@pytest.mark.parametrize(("resources", "expected"), [("gpu", 1), ("shard:4,gpu:2", 2), ("", 0)])
def test_gpus_of_a_node(resources: str, expected: int) -> None:
    found = parse(f"p 30 1000 {resources}")
    assert found
    assert found.gpus == expected


def test_a_job_that_fits_somewhere_needs_no_warning() -> None:
    assert warnings([Job("a run", 2880, 512000, 4)], NODES) == []
    assert warnings([Job("a run", 10**6, 128000, 2)], NODES) == []


def test_a_run_that_is_too_long_takes_several_jobs() -> None:
    (line,) = warnings([Job("teacher", 10145, 32000, 1)], NODES, "gpu")
    assert line == (
        "teacher: needs 169:05, but gpu allows 48:00; the run is stopped at the limit and resumes"
        " in the next job"
    )
    # On long it would fit, if it had that much memory.
    (line,) = warnings([Job("teacher", 10145, 200000, 1)], NODES)
    assert "debug, gpu, long allows 48:00" in line


def test_a_run_that_is_too_large_is_named() -> None:
    assert warnings([Job("a run", 60, 600000, 1)], NODES, "gpu") == [
        "a run: no node of gpu has 600000 MB and 1 GPU"
    ]
    (line,) = warnings([Job("a run", 60, 1000, 8)], NODES)
    assert line.endswith("has 1000 MB and 8 GPUs")


def test_an_unknown_partition_is_named() -> None:
    assert warnings([Job("a run", 1, 1, 0)], NODES, "gpus") == [
        "sinfo knows no partition 'gpus'; it lists debug, gpu, long"
    ]


def test_the_profile_names_the_partition(tmp_path: Path) -> None:
    profile = tmp_path / "config.yaml"
    assert partition_of_profile(profile) is None
    profile.write_text("executor: slurm\n")
    assert partition_of_profile(profile) is None
    profile.write_text("default-resources:\n  slurm_partition: gpu\n")
    assert partition_of_profile(profile) == "gpu"
