"""COCO metrics of an exported detector, computed with nothing but mmdet and pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
import time
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from icd.files import atomic, write_json

# COCOeval.stats in its own order: average precision, then average recall.
NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def evaluate(config_file: Path, checkpoint: Path, work: Path, output: Path) -> None:
    """Detect on the test split of ``config_file`` and write all twelve metrics as raw JSON.

    Args:
        config_file, checkpoint: a plain mmdet detector.
        work: folder for the detections (``<kind>.json``) and the log.
        output: JSON with ``metrics`` ({kind: {name: value}}), images, seconds.
    """
    start, config = time.monotonic(), Config.fromfile(config_file)
    detections = detect(config, checkpoint, work)
    annotations = Path(config.test_evaluator.ann_file)
    metrics = {kind: coco_metrics(annotations, file, kind) for kind, file in detections.items()}
    write_json(output, {"metrics": metrics, "seconds": time.monotonic() - start})


def detect(config: Config, checkpoint: Path, work: Path) -> dict[str, Path]:
    """Run a detector over its test split; the files of detections by kind (bbox, segm)."""
    kinds = list(config.test_evaluator.metric)
    with atomic(work / "detections") as prefix:
        config.merge_from_dict(
            {
                "work_dir": str(work),
                "load_from": str(checkpoint),
                "test_evaluator": {"format_only": True, "outfile_prefix": str(prefix)},
            }
        )
        Runner.from_cfg(config).test()
        found = {}
        for kind in kinds:
            found[kind] = work / f"{kind}.json"
            Path(f"{prefix}.{kind}.json").replace(found[kind])
    return found


def coco_metrics(annotations: Path, detections: Path, kind: str) -> dict[str, float | None]:
    """The twelve COCO metrics of a file of detections, unrounded.

    Nothing detected scores 0; a metric without any ground truth (COCOeval's -1) is None.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        found = json.loads(detections.read_text())
        evaluator = COCOeval(truth, truth.loadRes(found) if found else COCO(), kind)
        evaluator.params.imgIds = sorted(truth.getImgIds())
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    values = {name: float(value) for name, value in zip(NAMES, evaluator.stats, strict=True)}
    return {name: None if value == -1 else value for name, value in values.items()}
