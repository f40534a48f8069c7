"""The resources that one run uses. Only the number of GPUs changes more than rounding."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from icd.experiments.base import Model

Evaluator = Literal["hotcoco", "pycocotools"]
EVALUATORS: tuple[Evaluator, ...] = get_args(Evaluator)  # the first is the default


class Machine(Model):
    """resources that one run uses"""

    threads: int = Field(1, ge=1, description="CPU threads")
    gpus: int = Field(0, ge=0, description="GPUs, with one process each; 0 trains on the CPU")
    workers: int = Field(
        0, ge=0, description="data-loading processes per GPU, in training and evaluation"
    )
    memory: int = Field(4000, ge=1, description="megabytes of memory")
    seconds_per_iteration: float | None = Field(
        None,
        gt=0,
        description="seconds per iteration, from which the walltime on a cluster is computed",
    )
    checkpoint_every: int = Field(1000, ge=1, description="iterations between checkpoints")
    snapshots: int = Field(
        0, ge=0, description="points of training at which AP is measured for the curves"
    )
    deterministic: bool = Field(
        False,
        description="train with deterministic algorithms, so that a GPU repeats a run to the bit",
    )
    evaluator: Evaluator = Field(
        "hotcoco", description="library that computes COCO metrics; both give identical values"
    )
