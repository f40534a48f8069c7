"""How large and how fast a detector is: parameters, operations, megabytes, milliseconds."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import onnxruntime
from mmdet.registry import DATASETS
from mmengine.analysis import get_model_complexity_info
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from icd.data.annotations import read_annotations
from icd.data.images import require_image
from icd.deploy.describe import Form
from icd.deploy.export import built, export, quiet
from icd.errors import InputError
from icd.evaluation.evaluate import config_of, data_of
from icd.experiments.splits import Split
from icd.exported.runtime import Image, OnnxDetector
from icd.files import sha256, write_json
from icd.training.manifest import environment

IMAGES, ROUNDS, THREADS = 20, 5, 1


def measure(folder: Path, split: str, output: Path, files: Split | None = None) -> None:
    """Write the size and speed of a run's detector as JSON, with its provenance.

    The file has ``parameters``, ``flops`` for an ``image`` [height, width] and, of its ONNX model
    in float32 with suppression, ``megabytes`` and ``milliseconds`` per image. These are None if the
    detector cannot be exported, and ``refused`` says why.

    Args:
        folder: folder of the run.
        split: split of the run's data set, whose first images are detected on.
        output: file to write.
        files: annotation file and image folder of the split; default: of the run's description.
    """
    config = config_of(folder, split, files)
    detector = built(config, folder)
    result: dict[str, Any] = {
        "run": folder.resolve().name,
        "checkpoint_sha256": sha256(folder / "model.pth"),
        "parameters": sum(one.numel() for one in detector.parameters()),
        **counted(detector, config),
        "megabytes": None,
        "milliseconds": None,
        "refused": None,
        "images": IMAGES,
        "threads": THREADS,
        "onnxruntime": onnxruntime.__version__,
    }
    with tempfile.TemporaryDirectory() as place:
        model = Path(place, "model.onnx")
        try:
            export(folder, model, Form())
        except InputError as error:
            result["refused"] = error.problem
        else:
            result["megabytes"] = model.stat().st_size / 1e6
            result["milliseconds"] = milliseconds(model, first_images(config))
    write_json(output, result | environment())


def counted(detector: Any, config: Config) -> dict[str, Any]:
    """``flops`` for the first ``image`` of the split, as mmdet's get_flops.py counts them.

    mmengine counts a multiply-add of a convolution or matrix product as one, and norms; no other
    elementwise operation and no suppression.
    """
    dataset = DATASETS.build(config.test_dataloader.dataset)
    batch = detector.data_preprocessor(pseudo_collate([dataset[0]]))
    detector.forward = partial(detector.forward, data_samples=batch["data_samples"])
    logging.disable(logging.WARNING)  # mmengine lists what it does not count
    try:
        with quiet():
            found = get_model_complexity_info(
                detector, inputs=(batch["inputs"],), show_table=False, show_arch=False
            )
    finally:
        logging.disable(logging.NOTSET)
        del detector.forward
    return {"flops": int(found["flops"]), "image": list(batch["inputs"].shape[2:])}


def first_images(config: Config) -> list[Image]:
    """The first images of the split that a config is pointed at."""
    annotations, folder = data_of(config)
    listed = read_annotations(annotations)["images"][:IMAGES]
    return [require_image(folder / image["file_name"]) for image in listed]


def milliseconds(model: Path, images: Sequence[Image]) -> float:
    """Processor time of a model on one thread, in batches of one: the median over images."""
    detector = OnnxDetector(model, THREADS)
    return 1000 * median(seconds(detector, detector.feeds([image])[0]) for image in images)


def seconds(detector: OnnxDetector, feeds: dict[str, Any]) -> float:
    """Of the fastest of some rounds, because other programs can only slow a round down."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        detector.session.run(None, feeds)
        times.append(time.process_time() - start)
    return min(times)
