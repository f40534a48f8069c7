"""AP over the course of a training, from the metrics of its snapshots."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from icd.experiments.ablation import Ablation
from icd.experiments.snapshots import metrics_file, snapshot_iterations
from icd.experiments.track import Track
from icd.files import require_file, write_csv


def write(ablation: Ablation, track: Track, output: Path) -> None:
    """Write the AP of each snapshot of the figure's rows, as a fraction, with its split."""
    runs = {row.id: row.runs[0] for row in ablation.choose(ablation.figures["curves"])}
    lines = []
    for row, run in runs.items():
        for iteration in snapshot_iterations(run, track.machine.snapshots):
            file = require_file(metrics_file(run, iteration), "the metrics of a snapshot")
            result = json.loads(file.read_text())
            value = result["metrics"][ablation.iou_type]["AP"]
            line = {"row": row, "run": run.id, "split": result["split"], "iteration": iteration}
            lines.append(line | {"AP": value})
    write_csv(output, pd.DataFrame(lines))
