"""COCO metrics of an exported detector."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

from icd.evaluation import detection_files  # noqa: F401  (registers with mmdet)
from icd.evaluation.coco import match, replicates, summary
from icd.experiments.machine import EVALUATORS
from icd.experiments.run import Run, load_run
from icd.files import atomic, write_json
from icd.training import dataset  # noqa: F401  (registers with mmdet)
from icd.training.checkpoint import load_weights

BOXES = "bbox"


def evaluate(
    folder: Path,
    split: str,
    output: Path,
    weights: Path | None = None,
    evaluator: str = EVALUATORS[0],
) -> None:
    """Run the detector of a run's folder over a split; write all twelve metrics as raw JSON.

    Args:
        folder: with ``model.py`` and ``model.pth``, a plain mmdet detector whose config names the
            test split. The detections go to ``<split>/<kind>.json`` in it, an empty list of boxes
            if the detector finds masks alone.
        split: of the run's data set.
        output: JSON with the split, ``metrics`` ({kind: {name: value}}), ``bootstrap`` ({kind: AP
            under resamplings of the images}, see :mod:`icd.evaluation.bootstrap`) and seconds.
        weights: another state of the detector, whose detections are not kept.
        evaluator: one of :data:`icd.experiments.machine.EVALUATORS`; the numbers are the same.
    """
    logging.captureWarnings(True)  # they go to the log
    start, config = time.monotonic(), Config.fromfile(folder / "model.py")
    use_split(config, load_run(folder), split)
    annotations = Path(config.test_evaluator.ann_file)
    place = tempfile.TemporaryDirectory() if weights else contextlib.nullcontext(folder / split)
    with place as work:
        found = detect(config, weights or folder / "model.pth", Path(work))
        matched = {kind: match(annotations, file, kind, evaluator) for kind, file in found.items()}
    result = {
        "split": split,
        "metrics": {kind: summary(found) for kind, found in matched.items()},
        "bootstrap": {kind: replicates(found) for kind, found in matched.items()},
    }
    write_json(output, result | {"seconds": time.monotonic() - start})


def use_split(config: Config, run: Run, split: str) -> None:
    """Point a plain config at another split of the data set."""
    files, images = run.files_of(split), config.test_dataloader.dataset
    images.type = "CompletedCocoDataset"  # for files that leave out what mmdet reads
    images.ann_file, images.data_prefix.img = files.annotations, files.images
    config.test_evaluator.ann_file = str(Path(images.data_root, files.annotations))


def detect(config: Config, checkpoint: Path, work: Path) -> dict[str, Path]:
    """Run a detector over its test split; the files of detections by kind (bbox, segm)."""
    kinds = list(config.test_evaluator.metric)
    with atomic(work / "detections") as prefix:
        config.merge_from_dict(
            {
                "work_dir": str(work),
                "test_evaluator": {"type": "DetectionFiles", "outfile_prefix": str(prefix)},
            }
        )
        runner = Runner.from_cfg(config)
        load_weights(runner.model, checkpoint)  # mmengine's own loading skips what does not fit
        runner.test()
        found = {}
        for kind in kinds:
            found[kind] = work / f"{kind}.json"
            Path(f"{prefix}.{kind}.json").replace(found[kind])
    if BOXES not in found:  # the pipeline expects it of every detector
        write_json(work / f"{BOXES}.json", [])
    return found
