"""What is known after a training: the metrics of evaluations, and the figures of tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import ParamSpec

import numpy as np
from PIL import Image

from icd.experiments.run import Run
from icd.experiments.trackers import Tracking
from icd.files import read_json
from icd.tracking.alone import alone
from icd.tracking.entry import Entry, of_run, of_table
from icd.tracking.guard import GuardedBackend, say_failed

FIGURES = "figures"  # of the ids in a table's state: how often figures were sent


P = ParamSpec("P")


def harmless(send: Callable[P, None]) -> Callable[P, None]:
    """A function whose errors are logged: what it would send is on the disk anyway."""

    @wraps(send)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            send(*args, **kwargs)
        except Exception as error:
            say_failed("tracking", error)

    return guarded


@harmless
def send_metrics(tracking: Tracking, run: Run, file: Path, iteration: int) -> None:
    """Add the metrics of an evaluation to the entry of its run.

    Args:
        tracking: the trackers; none does nothing.
        run: the run that was evaluated.
        file: the metrics, which ``icd evaluate`` wrote.
        iteration: of the weights that were evaluated.
    """
    result = read_json(file, "the metrics of a run")
    scalars = {
        f"{result['split']}/{kind}/{name}": value
        for kind, metrics in result["metrics"].items()
        for name, value in metrics.items()
        if value is not None
    }
    with opened(tracking.trackers, of_run(run, tracking.tables)) as backends:
        for backend in backends:
            backend.add_scalars(scalars, iteration)


@harmless
def send_figures(
    trackers: Sequence[str], track: str, table: str, question: str, files: Sequence[Path]
) -> None:
    """Add PNG files among ``files`` to the entry of a table; earlier ones stay, where they can."""
    images = {file.stem: file for file in files if file.suffix == ".png"}
    entry = of_table(track, table, question)
    with opened(trackers, entry) as backends:
        step = int(entry.known(FIGURES) or 0)
        for backend in backends:
            for name, file in images.items():
                backend.add_image(name, np.asarray(Image.open(file).convert("RGB")), step)
        if backends:
            entry.remember(FIGURES, str(step + 1))


@contextmanager
def opened(trackers: Sequence[str], entry: Entry) -> Iterator[list[GuardedBackend]]:
    """Backends of an entry, which one process at a time adds to."""
    if not trackers:
        yield []
        return
    backends = [GuardedBackend(tracker, asdict(entry)) for tracker in trackers]
    with alone(Path(entry.state)):
        try:
            yield backends
        finally:
            for backend in backends:
                backend.close()
