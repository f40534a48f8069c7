"""COCO metrics of an exported detector."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

import icd.training.workers  # noqa: F401  (registers with mmengine)
from icd.data.annotations import read_annotations
from icd.data.contents import memory_file
from icd.data.images import require_images
from icd.data.made import left_out, verify_made
from icd.evaluation import detection_files  # noqa: F401  (registers with mmdet)
from icd.evaluation.breakdown import resampled
from icd.evaluation.coco import match, summary
from icd.experiments.machine import EVALUATORS
from icd.experiments.run import load_run
from icd.experiments.splits import Split
from icd.files import atomic, require_file, sha256, write_json
from icd.training import dataset  # noqa: F401  (registers with mmdet)
from icd.training.checkpoint import load_weights
from icd.training.dataloader import loading

BOXES = "bbox"


def evaluate(
    folder: Path,
    split: str,
    output: Path,
    weights: Path | None = None,
    evaluator: str = EVALUATORS[0],
    files: Split | None = None,
    workers: int = 0,
) -> None:
    """Run a run's detector on a split and write all twelve metrics as raw JSON.

    Args:
        folder: folder of the run with ``model.py`` and ``model.pth``, a plain mmdet detector. The
            detections are written to ``<split>/<kind>.json`` in this folder. A detector without
            boxes writes an empty list of boxes.
        split: split of the run's data set.
        output: JSON file with the split, ``annotations_sha256`` (of the annotation file),
            ``images_sha256`` (of the images' names and sizes), ``contents_sha256`` (of their names
            and contents), ``left_out`` (names of broken images, if any), ``metrics`` ({kind: {name:
            value}}), ``bootstrap`` ({kind: AP of each resample of the images}), ``parts`` (the same
            by class and by size of the objects, see :mod:`icd.evaluation.breakdown`) and seconds.
        weights: evaluate these weights instead; their detections are not kept.
        evaluator: one of :data:`icd.experiments.machine.EVALUATORS`; all give the same numbers.
        files: annotation file and image folder of the split. By default, those that the run was
            described with: a track may have replaced its test set or added a split since.
        workers: data-loading processes.

    Raises:
        InputError: the annotation file is not valid, or lists other classes than the run's.
    """
    logging.captureWarnings(True)  # warnings go to the log
    start = time.monotonic()
    config = config_of(folder, split, files)
    config.test_dataloader.merge(loading(workers, seed=0))  # nothing is drawn at random
    annotations, images = data_of(config)
    measured_on = data_evaluated(annotations, images, memory_file(folder.parent, split, images))
    place = tempfile.TemporaryDirectory() if weights else contextlib.nullcontext(folder / split)
    with place as work:
        found = detect(config, weights or folder / "model.pth", Path(work))
        matches = {kind: match(annotations, file, kind, evaluator) for kind, file in found.items()}
    metrics = {kind: summary(matched) for kind, matched in matches.items()}
    resamples = {kind: resampled(matched) for kind, matched in matches.items()}
    result = {
        "split": split,
        **measured_on,
        "metrics": metrics,
        "bootstrap": {kind: values for kind, (values, _) in resamples.items()},
        "parts": {kind: parts for kind, (_, parts) in resamples.items()},
    }
    write_json(output, result | {"seconds": time.monotonic() - start})


def config_of(folder: Path, split: str, files: Split | None = None) -> Config:
    """The plain config of a run, pointed at a split; arguments as of :func:`evaluate`.

    Raises:
        InputError: the run has no detector yet, or its data no such split.
    """
    model = require_file(folder / "model.py", "the config that a finished training leaves")
    config, run = Config.fromfile(model), load_run(folder)
    if files is None:
        use_files(config, run.files_of(split), config.test_dataloader.dataset.data_root)
    else:
        use_files(config, files, "")
    annotations = require_file(Path(config.test_evaluator.ann_file), "a COCO JSON file")
    if split in run.files and run.files[split].made:
        verify_made(annotations)
    return config


def data_of(config: Config) -> tuple[Path, Path]:
    """The annotation file and the image folder that a plain config is pointed at."""
    read = config.test_dataloader.dataset
    return Path(config.test_evaluator.ann_file), Path(read.data_root, read.data_prefix.img)


def data_evaluated(annotations: Path, images: Path, memory: Path) -> dict[str, Any]:
    """What an evaluation records of its data, before the detector reads them.

    Raises:
        InputError: the annotation file is not valid, or an image cannot be read.
    """
    digits = sha256(annotations)
    content = read_annotations(annotations)  # refuses a file that libraries would stumble over
    found = require_images(annotations, images, memory)
    names = left_out(content)
    return {
        "annotations_sha256": digits,
        "images_sha256": found.listing,
        "contents_sha256": found.contents,
        **({"left_out": names} if names else {}),
    }


def use_files(config: Config, files: Split, root: str) -> None:
    """Point a plain config at other images; the paths of ``files`` are relative to ``root``."""
    images = config.test_dataloader.dataset
    images.type = "CompletedCocoDataset"  # for files that lack keys that mmdet needs
    images.data_root = root
    images.ann_file, images.data_prefix.img = files.file_beside(Path(root)), files.images
    config.test_evaluator.ann_file = str(Path(root, images.ann_file))


def detect(config: Config, checkpoint: Path, work: Path) -> dict[str, Path]:
    """Run a detector on its test split; returns the files of detections by kind (bbox, segm)."""
    kinds = list(config.test_evaluator.metric)
    with atomic(work / "detections") as prefix:
        config.merge_from_dict(
            {
                "work_dir": str(work),
                "test_evaluator": {"type": "DetectionFiles", "outfile_prefix": str(prefix)},
            }
        )
        runner = Runner.from_cfg(config)
        load_weights(runner.model, checkpoint)  # mmengine's loader skips weights that do not fit
        runner.test()
        files = {}
        for kind in kinds:
            files[kind] = work / f"{kind}.json"
            Path(f"{prefix}.{kind}.json").replace(files[kind])
    if BOXES not in files:  # the pipeline expects this file from every detector
        write_json(work / f"{BOXES}.json", [])
    return files
