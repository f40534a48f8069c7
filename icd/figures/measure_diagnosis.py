"""What a training measured beside its losses, from the scalars that mmengine logs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from icd.experiments.ablation import Ablation
from icd.experiments.track import Track
from icd.figures.measure_losses import logged
from icd.files import write_csv
from icd.training.diagnosis import summary

PREFIX = "diagnosis/"
COLUMNS = ["row", "run", "iteration"]


def write(ablation: Ablation, track: Track, output: Path) -> None:
    """Write the logged values of the figure's rows: row, run, iteration, and a column for each.

    Values of heads are averaged, see :func:`icd.training.diagnosis.summary`.
    """
    runs = {row.id: row.runs[0] for row in ablation.choose(ablation.figures["curves"])}
    lines = []
    for row, run in runs.items():
        for iteration, values in logged(run.folder / "work", PREFIX).items():
            named = {name.removeprefix(PREFIX): [value] for name, value in values.items()}
            key = {"row": row, "run": run.id, "iteration": iteration}
            lines.append(key | summary(named, last=1)["values"])
    write_csv(output, pd.DataFrame(lines, columns=None if lines else COLUMNS))
