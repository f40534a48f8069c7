"""The contract of a run's detector, from its plain config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

import icd
from icd.deploy.graph import Graph
from icd.errors import InputError
from icd.exported.contract import Contract, Pixels, Precision, Resize, Suppression
from icd.files import sha256
from icd.training.base_config import short_name

# Steps that the contract states, or that change nothing but annotations.
KNOWN_STEPS = ("LoadImageFromFile", "Resize", "LoadAnnotations", "RandomFlip", "PackDetInputs")
MASKS = "float32 [{batch}, {count}, {cells}, {cells}]: probabilities, on a grid over the box"


@dataclass(frozen=True)
class Form:
    """What a user chooses about an exported model.

    precision: how networks are computed.
    nms: whether the graph ends with non-maximum suppression.
    batch: images in a batch; None: any number.
    size: height and width of the padded images; None: any.
    """

    precision: Precision = "float32"
    nms: bool = True
    batch: int | None = None
    size: tuple[int, int] | None = None


def contract_of(config: Config, folder: Path, graph: Graph, form: Form) -> Contract:
    """The contract of a model.

    Args:
        config: the run's plain config.
        folder: folder of the run.
        graph: its detector.
        form: what the user chose.

    Raises:
        InputError: images are prepared in a way that a contract does not state.
    """
    pixels = pixels_of(config, config.filename)
    if form.size and any(side % pixels.pad_divisor for side in form.size):
        problem = f"is {' '.join(map(str, form.size))}"
        expected = f"multiples of {pixels.pad_divisor}, to which images are padded"
        raise InputError("icd export", "--size", problem, expected)
    settings = graph.head.test_cfg
    nms = Suppression(
        in_graph=form.nms,
        iou_threshold=settings.nms.iou_threshold,
        class_agnostic=settings.nms.get("class_agnostic", False),
        detections=settings.max_per_img,
    )
    masks = graph.detector.with_mask
    dataset = config.test_dataloader.dataset
    return Contract(
        icd=icd.__version__,
        run=folder.resolve().name,
        checkpoint_sha256=sha256(folder / "model.pth"),
        precision=form.precision,
        classes=list(dataset.metainfo.classes),
        resize=resize_of(dataset.pipeline, config.filename),
        pixels=pixels,
        batch=form.batch,
        size=list(form.size) if form.size else None,
        suppression=nms,
        mask_threshold=settings.mask_thr_binary if masks else None,
        inputs=inputs(form),
        outputs=outputs(form, graph),
    )


def inputs(form: Form) -> dict[str, str]:
    """Names, types and shapes of the inputs."""
    batch = form.batch or "batch"
    height, width = form.size or ("height", "width")
    return {
        "images": f"float32 [{batch}, 3, {height}, {width}]: resized, normalised, padded",
        "sizes": f"int64 [{batch}, 2]: height and width of each image after resizing, not padded",
    }


def outputs(form: Form, graph: Graph) -> dict[str, str]:
    """Names, types, shapes and meanings of the outputs."""
    batch = form.batch or "batch"
    counted = graph.head.test_cfg.max_per_img if form.nms else "candidates"
    stated = {
        "boxes": f"float32 [{batch}, {counted}, 4]: x1 y1 x2 y2 in pixels of the resized image",
        "scores": f"float32 [{batch}, {counted}]: "
        + ("the best first" if form.nms else "in no order"),
        "labels": f"int64 [{batch}, {counted}]: index of the class; -1: no detection",
    }
    if graph.detector.with_mask:
        cells = mask_cells(graph)
        stated["masks"] = MASKS.format(batch=batch, count=counted, cells=cells)
    return stated


def mask_cells(graph: Graph) -> int:
    """Cells along a side of a mask's grid."""
    head = graph.head
    scale = head.mask_head.scale_factor if head.mask_head.upsample else 1
    return int(head.mask_roi_extractor.roi_layers[0].output_size[0] * scale)


def resize_of(steps: Sequence[dict[str, Any]], file: str) -> Resize:
    """The resizing of a test pipeline, which stands in ``file``.

    Raises:
        InputError: a step does more than the contract states.
    """
    named = {short_name(step["type"]): step for step in steps}
    unknown = [name for name in named if name not in KNOWN_STEPS]
    flip = named.get("RandomFlip", {})
    resize = named["Resize"]
    if unknown or flip.get("prob") or not resize.get("keep_ratio"):
        names = unknown or ["RandomFlip" if flip.get("prob") else "Resize"]
        problem = f"{', '.join(names)} prepares images in a way that a contract does not state"
        raise InputError(file, "test_dataloader.dataset.pipeline", problem, f"only {KNOWN_STEPS}")
    shortest, longest = sorted(resize["scale"])
    return Resize(longest=longest, shortest=shortest)


def pixels_of(config: Config, file: str) -> Pixels:
    """How mmdet's DetDataPreprocessor makes inputs of images; ``file`` has the config.

    Raises:
        InputError: the detector has another preprocessor.
    """
    stated = config.model.data_preprocessor
    if short_name(stated.type) != "DetDataPreprocessor" or stated.get("mean") is None:
        problem = f"{stated.type} prepares images in a way that a contract does not state"
        raise InputError(file, "model.data_preprocessor", problem, "mean and std")
    return Pixels(
        channels="RGB" if stated.get("bgr_to_rgb") else "BGR",
        mean=[float(value) for value in stated.mean],
        std=[float(value) for value in stated.std],
        pad_value=float(stated.get("pad_value", 0)),
        pad_divisor=stated.get("pad_size_divisor", 1),
    )
