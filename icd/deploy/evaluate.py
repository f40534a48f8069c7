"""COCO metrics of an exported model, beside those of the checkpoint that it was exported from."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime
from pycocotools import mask as run_lengths
from torch import get_num_threads

from icd.data.annotations import read_annotations
from icd.data.contents import memory_file
from icd.data.images import require_image
from icd.errors import InputError
from icd.evaluation.coco import coco_metrics
from icd.evaluation.evaluate import config_of, data_evaluated, data_of
from icd.experiments.machine import EVALUATORS
from icd.experiments.run import load_run
from icd.experiments.splits import Split
from icd.exported.contract import Contract
from icd.exported.runtime import Found, OnnxDetector, pasted
from icd.files import read_json, sha256, write_json, write_text

MASKS = "segm"
Metrics = dict[str, dict[str, float | None]]  # by kind (bbox, segm) and name


def evaluate(
    folder: Path,
    model: Path,
    split: str,
    output: Path,
    evaluator: str = EVALUATORS[0],
    files: Split | None = None,
) -> str:
    """Run an exported model on a split, in the batches in which the checkpoint is evaluated.

    Args:
        folder: folder of the run that the model was exported from.
        model: the exported model. Its detections are written beside it.
        split: split of the run's data set.
        output: JSON file with the split and hashes as of :func:`icd.evaluation.evaluate.evaluate`,
            ``precision``, ``model_sha256``, ``metrics`` ({kind: {name: value}}), ``checkpoint``
            (the same of the checkpoint), ``difference`` ({kind: AP of the model minus AP of the
            checkpoint}), the version of onnxruntime, and seconds.
        evaluator: one of :data:`icd.experiments.machine.EVALUATORS`.
        files: annotation file and image folder of the split; default: of the run's description.

    Returns:
        The comparison in words, a line for each kind.

    Raises:
        InputError: the annotation file is not valid, the checkpoint was not evaluated on it, or the
            model was exported from another one.
    """
    start = time.monotonic()
    config, detector = config_of(folder, split, files), OnnxDetector(model, get_num_threads())
    require_exported_from(folder, detector.contract, model)
    annotations, images = data_of(config)
    measured_on = data_evaluated(annotations, images, memory_file(folder.parent, split, images))
    checkpoint = metrics_of_checkpoint(folder, split, measured_on)
    batch = detector.contract.batch or config.test_dataloader.batch_size
    content = read_annotations(annotations)
    metrics: Metrics = {}
    for kind, own in all_described(detector, content, images, batch, checkpoint).items():
        file = model.with_suffix(f".{split}.{kind}.json")
        write_text(file, json.dumps(own))
        metrics[kind] = coco_metrics(annotations, file, kind, evaluator)
    difference = {kind: ap(metrics[kind]) - ap(checkpoint[kind]) for kind in metrics}
    result = {
        "split": split,
        **measured_on,
        "precision": detector.contract.precision,
        "model_sha256": sha256(model),
        "metrics": metrics,
        "checkpoint": checkpoint,
        "difference": difference,
        "onnxruntime": onnxruntime.__version__,
    }
    write_json(output, result | {"seconds": time.monotonic() - start})
    return "\n".join(
        f"{kind} AP on {split}: {100 * ap(metrics[kind]):.2f} with onnxruntime in "
        f"{detector.contract.precision}, {100 * ap(checkpoint[kind]):.2f} of the checkpoint"
        for kind in metrics
    )


def all_described(
    detector: OnnxDetector, content: dict[str, Any], images: Path, batch: int, kinds: Iterable[str]
) -> dict[str, list[dict[str, Any]]]:
    """COCO detections in all images of an annotation file's content, by kind."""
    by_name = {category["name"]: category["id"] for category in content["categories"]}
    ids = [by_name[name] for name in detector.contract.classes]
    entries: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
    for image, found in detected(detector, content["images"], images, batch):
        for kind, own in entries.items():
            own += described(image, found, ids, detector.contract, kind)
    return entries


def ap(metrics: dict[str, float | None]) -> float:
    """AP; 0 where there is no ground truth, as for both sides of a comparison."""
    return metrics["AP"] or 0.0


def require_exported_from(folder: Path, contract: Contract, model: Path) -> None:
    """Raise InputError if a model is of other weights than the checkpoint of a run."""
    checkpoint = folder / "model.pth"
    if contract.checkpoint_sha256 != sha256(checkpoint):
        problem, expected = f"is of other weights of {contract.run}", f"an export of {checkpoint}"
        raise InputError(model, "checkpoint_sha256", problem, expected)


def metrics_of_checkpoint(folder: Path, split: str, measured_on: Mapping[str, Any]) -> Metrics:
    """The metrics of a run's checkpoint on the same data.

    Raises:
        InputError: there are none.
    """
    file = folder / load_run(folder).metrics(split).name
    expected = f"what `icd evaluate {folder} --split {split} --output {file}` writes"
    content = read_json(file, expected)
    if any(content.get(key) != value for key, value in measured_on.items()):
        raise InputError(file, "", "was measured on other annotations or images", expected)
    metrics: Metrics = content["metrics"]
    return metrics


def detected(
    detector: OnnxDetector, images: Sequence[dict[str, Any]], folder: Path, batch: int
) -> Iterator[tuple[dict[str, Any], Found]]:
    """Each image of an annotation file with its detections, in its order."""
    for start in range(0, len(images), batch):
        some = images[start : start + batch]
        pixels = [require_image(folder / image["file_name"]) for image in some]
        yield from zip(some, detector(pixels), strict=True)


def described(
    image: dict[str, Any], found: Found, ids: Sequence[int], contract: Contract, kind: str
) -> Iterator[dict[str, Any]]:
    """The detections of an image in COCO's format."""
    boxes = found.boxes.astype(float)
    boxes[:, 2:] -= boxes[:, :2]
    columns = boxes.tolist(), found.scores.tolist(), found.labels.tolist()
    for i, (box, score, label) in enumerate(zip(*columns, strict=True)):
        entry = {"image_id": image["id"], "bbox": box, "score": score, "category_id": ids[label]}
        if kind == MASKS:
            assert found.masks is not None
            assert contract.mask_threshold is not None
            shape = image["height"], image["width"]
            mask = pasted(found.masks[i], found.boxes[i], shape, contract.mask_threshold)
            code = run_lengths.encode(mask.astype("uint8", order="F"))
            entry["segmentation"] = {"size": code["size"], "counts": code["counts"].decode()}
        yield entry
