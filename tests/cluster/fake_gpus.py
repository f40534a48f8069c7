"""Makes PyTorch count fake GPUs in the trainings of test_slurm.py that use GPUs.

Python imports this module at its start, as ``sitecustomize``. There is no CUDA: the count is the
number of visible GPUs, and trainings run on the CPU. Each process records its own GPU.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def visible() -> list[str]:
    """The GPUs that this process may use."""
    return [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]


def is_on_gpus(argv: list[str]) -> bool:
    """Whether this is a process of a training on GPUs."""
    return "train" in argv and "--gpus" in argv and argv[argv.index("--gpus") + 1] != "0"


if is_on_gpus(sys.orig_argv):
    import torch

    torch.cuda.device_count = lambda: len(visible())
    torch.cuda.get_device_name = lambda device=None: "a fake GPU"
    if "LOCAL_RANK" in os.environ:
        found = {
            "gpu": visible()[int(os.environ["LOCAL_RANK"])],
            "visible": visible(),
            "job": os.environ["SLURM_JOB_ID"],
        }
        with Path(os.environ["ICD_TEST_PLAN"], "processes").open("a") as stream:
            stream.write(json.dumps(found) + "\n")
