"""What one run uses of a machine. It changes no result but for the number of GPUs."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from icd.experiments.base import Model

Evaluator = Literal["hotcoco", "pycocotools"]
EVALUATORS: tuple[Evaluator, ...] = get_args(Evaluator)  # the first is the default


class Machine(Model):
    """what one run uses of a machine"""

    threads: int = Field(1, ge=1, description="CPU threads")
    gpus: int = Field(0, ge=0, description="GPUs, with a process each; 0 trains on the CPU")
    workers: int = Field(0, ge=0, description="data-loading processes of each GPU")
    memory: int = Field(4000, ge=1, description="megabytes of memory")
    seconds_per_iteration: float | None = Field(
        None,
        gt=0,
        description="seconds of an iteration, which give the walltime that a cluster is asked for",
    )
    checkpoint_every: int = Field(1000, ge=1, description="iterations between checkpoints")
    snapshots: int = Field(
        0, ge=0, description="points of training at which AP is measured for the curves"
    )
    evaluator: Evaluator = Field(
        "hotcoco", description="what computes COCO metrics, both to the same last digit"
    )
