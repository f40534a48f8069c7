"""What the detections get wrong: TIDE (Bolya et al., ECCV 2020)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from hotcoco import COCO, COCOeval

from icd.data.truth import ground_truth
from icd.experiments.ablation import Ablation
from icd.experiments.track import Track
from icd.figures.examples import read_truth
from icd.files import require_file, write_csv


def write(ablation: Ablation, track: Track, output: Path) -> None:
    """Write the errors on the table's split of each seed of the figure's rows.

    Columns: row, run, AP50 (of the run), error, dAP (what AP50 would gain without this type of
    error, as a fraction) and count (empty for the sums FP and FN, which TIDE does not count).
    """
    truth = COCO(ground_truth(read_truth(track, ablation.split)))
    lines = []
    for row in ablation.choose(ablation.figures["errors"]):
        for run in row.runs:
            file = require_file(
                run.detections(ablation.split, ablation.iou_type),
                "the detections that icd evaluate writes",
            )
            result = tide(truth, file, ablation.iou_type)
            line = {"row": row.id, "run": run.id, "AP50": result["ap_base"]}
            lines += [
                line | {"error": name, "dAP": gain, "count": result["counts"].get(name)}
                for name, gain in result["delta_ap"].items()
            ]
    write_csv(output, pd.DataFrame(lines))


def tide(truth: COCO, detections: Path, iou_type: str) -> dict[str, Any]:
    """AP, and per type of error its gain and count, at an IoU of 0.5 (background below 0.1).

    A detection that is not a match is of the first type that fits: Loc (right class, IoU from 0.1),
    Cls (right place, other class), Dupe (a second one for its object), Both (other class, IoU from
    0.1), Bkg (no object). Miss: an object that is neither found nor meant by a Loc or Cls.
    :mod:`icd.figures.verdicts` says the same of single detections.
    """
    evaluator = COCOeval(truth, truth.load_res(str(detections)), iou_type)
    evaluator.evaluate()
    return evaluator.tide_errors(pos_thr=0.5, bg_thr=0.1)
