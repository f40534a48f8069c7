"""COCO metrics of an exported detector, computed by mmdet and pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import tempfile
import time
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from icd.files import atomic, write_json
from icd.suite.run import Run, load_run
from icd.suite.track import data_split
from icd.training.bootstrap import bootstrap_ap, multiplicities
from icd.training.checkpoint import load_weights
from icd.training.dataset import CompletedCOCO

# COCOeval.stats in its own order: average precision, then average recall.
NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def evaluate(folder: Path, split: str, output: Path, weights: Path | None = None) -> None:
    """Run the detector of a run's folder over a split; write all twelve metrics as raw JSON.

    Args:
        folder: with ``model.py`` and ``model.pth``, a plain mmdet detector whose config names the
            test split. The detections go to ``<split>/<kind>.json`` in it.
        split: of the run's data set.
        output: JSON with the split, ``metrics`` ({kind: {name: value}}), ``bootstrap`` ({kind: AP
            under resamplings of the images}, see :mod:`icd.training.bootstrap`) and seconds.
        weights: another state of the detector, whose detections are not kept.
    """
    logging.captureWarnings(True)  # they go to the log
    start, config = time.monotonic(), Config.fromfile(folder / "model.py")
    use_split(config, load_run(folder), split)
    annotations = Path(config.test_evaluator.ann_file)
    place = tempfile.TemporaryDirectory() if weights else contextlib.nullcontext(folder / split)
    with place as work:
        detections = detect(config, weights or folder / "model.pth", Path(work))
        evaluated = {kind: match(annotations, file, kind) for kind, file in detections.items()}
    result = {
        "split": split,
        "metrics": {kind: summary(evaluator) for kind, evaluator in evaluated.items()},
        "bootstrap": {kind: replicates(evaluator) for kind, evaluator in evaluated.items()},
    }
    write_json(output, result | {"seconds": time.monotonic() - start})


def use_split(config: Config, run: Run, split: str) -> None:
    """Point a plain config at another split of the data set."""
    files, dataset = data_split(run.description["data"], split), config.test_dataloader.dataset
    dataset.type = "CompletedCocoDataset"  # for files that leave out what mmdet reads
    dataset.ann_file, dataset.data_prefix.img = files["annotations"], files["images"]
    config.test_evaluator.ann_file = str(Path(dataset.data_root, files["annotations"]))


def detect(config: Config, checkpoint: Path, work: Path) -> dict[str, Path]:
    """Run a detector over its test split; the files of detections by kind (bbox, segm)."""
    kinds = list(config.test_evaluator.metric)
    with atomic(work / "detections") as prefix:
        config.merge_from_dict(
            {
                "work_dir": str(work),
                "test_evaluator": {"format_only": True, "outfile_prefix": str(prefix)},
            }
        )
        runner = Runner.from_cfg(config)
        load_weights(runner.model, checkpoint)  # mmengine's own loading skips what does not fit
        runner.test()
        found = {}
        for kind in kinds:
            found[kind] = work / f"{kind}.json"
            Path(f"{prefix}.{kind}.json").replace(found[kind])
        for unasked in work.glob(f"{prefix.name}.*"):  # mmdet writes boxes for any detector
            unasked.unlink()
    return found


def coco_metrics(annotations: Path, detections: Path, kind: str) -> dict[str, float | None]:
    """The twelve COCO metrics of a file of detections, unrounded.

    Nothing detected scores 0; a metric without any ground truth (COCOeval's -1) is None.
    """
    return summary(match(annotations, detections, kind))


def match(annotations: Path, detections: Path, kind: str) -> COCOeval:
    """Detections matched to the ground truth, image by image."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = CompletedCOCO(str(annotations))
        found = json.loads(detections.read_text())
        if kind == "segm":  # a mask's size is its own area, as in mmdet, not that of its box
            found = [{key: guess[key] for key in guess if key != "bbox"} for guess in found]
        evaluator = COCOeval(truth, truth.loadRes(found) if found else COCO(), kind)
        evaluator.params.imgIds = sorted(truth.getImgIds())
        evaluator.evaluate()
    return evaluator


def summary(evaluator: COCOeval) -> dict[str, float | None]:
    """The twelve metrics of matched detections."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.accumulate()
        evaluator.summarize()
    values = {name: float(value) for name, value in zip(NAMES, evaluator.stats, strict=True)}
    return {name: None if value == -1 else value for name, value in values.items()}


def replicates(evaluator: COCOeval) -> list[float | None]:
    """AP under resamplings of the test images; None where no ground truth was drawn."""
    values = bootstrap_ap(evaluator, multiplicities(len(evaluator.params.imgIds)))
    return [None if math.isnan(value) else value for value in values.tolist()]
