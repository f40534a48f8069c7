"""What the detections get wrong: TIDE (Bolya et al., ECCV 2020)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hotcoco import COCO, COCOeval

from icd.data.truth import ground_truth
from icd.experiments.ablation import Ablation
from icd.experiments.track import Track
from icd.figures.choice import read_truth
from icd.figures.kinds import COMPARED
from icd.figures.numbers import require, write_table


def write(ablation: Ablation, track: Track, output: Path) -> None:
    """Write the errors on the test split for each row in ``COMPARED`` and each of its seeds.

    Columns: row, run, AP50 (of the run), error, dAP (what AP50 would gain without this kind of
    error, as a fraction) and count (empty for the sums FP and FN, which TIDE does not count).
    """
    truth = COCO(ground_truth(read_truth(track)))
    lines = []
    for row in ablation.choose(COMPARED):
        for run in row.runs:
            file = run.detections(kind=ablation.kind)
            found = tide(truth, require(file, "what icd evaluate finds"), ablation.kind)
            line = {"row": row.id, "run": run.id, "AP50": found["ap_base"]}
            lines += [
                line | {"error": name, "dAP": gain, "count": found["counts"].get(name)}
                for name, gain in found["delta_ap"].items()
            ]
    write_table(lines, output)


def tide(truth: COCO, detections: Path, kind: str) -> dict[str, Any]:
    """AP, and per type of error its gain and count, at an IoU of 0.5 (background below 0.1).

    A detection that is no match is, of the first kind that fits: Cls (right place, other class),
    Loc (right class, IoU from 0.1), Both (other class, IoU from 0.1), Dupe (a second one for its
    object), Bkg (no object). Miss: an object that no error of the others explains.
    """
    evaluator = COCOeval(truth, truth.load_res(str(detections)), kind)
    evaluator.evaluate()
    return evaluator.tide_errors(pos_thr=0.5, bg_thr=0.1)
