"""Evaluation with data-loading processes: the same numbers, and no process that outlives it."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing import get_context
from typing import Any

import pytest

from icd.evaluation import evaluate
from icd.experiments.run import Run
from icd.process.signals import interruptible
from icd.training.dataset import CompletedCocoDataset
from tests.lab import Lab
from tests.processes import children, ends_within

WORKERS = 2


def result(lab: Lab, run: Run, workers: int) -> dict[str, Any]:
    found = lab.evaluate(run, workers=workers)
    found.pop("seconds")
    return found


def test_numbers_do_not_depend_on_who_loads_the_images(lab: Lab, teacher: Run) -> None:
    lab.write_description(teacher)
    exported = (lab.folder(teacher) / "model.py").read_text()
    assert result(lab, teacher, WORKERS) == result(lab, teacher, 0)
    assert (lab.folder(teacher) / "model.py").read_text() == exported


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_data_loaders_end_with_the_evaluation(
    lab: Lab, teacher: Run, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    def slowly(dataset: CompletedCocoDataset, index: int) -> None:
        time.sleep(60)

    monkeypatch.setattr(CompletedCocoDataset, "prepare_data", slowly)
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.2)
    lab.write_description(teacher)

    def evaluation() -> None:
        with interruptible("a-run"), lab.runner():
            evaluate.evaluate(teacher.folder, "test", lab.project / "out.json", workers=WORKERS)

    process = get_context("fork").Process(target=evaluation)
    process.start()
    assert process.pid
    until = time.monotonic() + 30
    while len(workers := children(process.pid)) < WORKERS:
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(0.5)  # they are set up
    os.kill(process.pid, number)
    process.join(20)
    assert process.exitcode == status
    assert all(ends_within(5, worker) for worker in workers)
