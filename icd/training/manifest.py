"""The provenance of a run: what ran, on what, from which code, for how long."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch.utils import collect_env

from icd.experiments.yaml_files import ROOT

PACKAGES = (
    "torch",
    "torchvision",
    "onedl-mmengine",
    "onedl-mmcv",
    "onedl-mmdetection",
    "numpy",
    "pycocotools",
    "snakemake",
)


def environment() -> dict[str, Any]:
    """Versions, git commit and hardware of this process."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "git": git_state(),
        "python": platform.python_version(),
        "versions": {name: installed(name) for name in PACKAGES},
        "hardware": {
            "processor": processor(),
            "simd": torch.backends.cpu.get_cpu_capability(),  # vector instructions of kernels
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            **gpus(),
        },
    }


def installed(package: str) -> str | None:
    """Version of a package; None if it is missing, as snakemake may be in a training job."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def git_state() -> dict[str, Any] | None:
    """Commit of the code and whether files have changed since; None outside a git checkout."""
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", str(ROOT), *command], capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (
                ["rev-parse", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no", "--", ":!results"],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "modified": bool(changes)}


def processor() -> str:
    """Name of the CPU."""
    try:
        with open("/proc/cpuinfo") as stream:
            names = [line.split(":", 1)[1].strip() for line in stream if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def gpus() -> dict[str, Any]:
    """Names of the visible GPUs; if there are any, also versions of what drives them."""
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if not names:
        return {"gpus": names}
    return {
        "gpus": names,
        "driver": collect_env.get_nvidia_driver_version(collect_env.run),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "nccl": nccl_version(),
    }


def nccl_version() -> str | None:
    """Version of the library through which GPUs average gradients; None without it."""
    if not (torch.distributed.is_available() and torch.distributed.is_nccl_available()):
        return None
    return ".".join(map(str, torch.cuda.nccl.version()))


def peak_memory_mib() -> dict[str, float]:
    """Peak memory of this process so far, and of its CUDA tensors, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, else in KiB
    peak = {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20}
    if torch.cuda.is_available():
        peak["cuda"] = torch.cuda.max_memory_allocated() / 2**20
    return peak
