"""Data-loading processes, and the signals that go to all processes of a job."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event

import pytest

from icd.training.workers import uninterrupted_worker
from tests.processes import ends_within


def idle(setup: bool, ready: Event) -> None:
    """A data-loading process; it goes on for a minute if nobody ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whatever the process of the tests has set
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    if setup:
        uninterrupted_worker(1, 2, 7)
    ready.set()
    time.sleep(60)


@pytest.mark.parametrize("setup", [True, False])
def test_a_data_loader_leaves_signals_to_the_training(setup: bool) -> None:
    ready = get_context("fork").Event()
    worker = get_context("fork").Process(target=idle, args=[setup, ready], daemon=True)
    worker.start()
    assert ready.wait(30)
    subprocess.run(["kill", "-TERM", str(worker.pid)], check=True)
    subprocess.run(["kill", "-INT", str(worker.pid)], check=True)
    worker.join(0.5 if setup else 10)
    assert worker.is_alive() == setup
    worker.terminate()  # as the parent does
    worker.join(10)
    assert not worker.is_alive()


def load(reports: Connection) -> None:
    """A training with a data-loading process, whose id it reports."""

    def worker() -> None:
        uninterrupted_worker(0, 1, 7)
        reports.send(os.getpid())
        time.sleep(60)

    get_context("fork").Process(target=worker).start()
    time.sleep(60)


def test_a_killed_training_takes_its_data_loaders_along() -> None:
    here, there = get_context("fork").Pipe()
    training = get_context("fork").Process(target=load, args=[there])
    training.start()
    worker = here.recv()
    assert not ends_within(0.2, worker)
    training.kill()
    training.join()
    assert ends_within(5, worker)
