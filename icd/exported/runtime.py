"""Runs an exported model on images, by nothing but the contract in its metadata.

Uses onnxruntime, OpenCV and NumPy; neither PyTorch nor mmdet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from icd.data.reading import resized
from icd.errors import InputError
from icd.exported.contract import Pixels, Resize, read_contract

Image = NDArray[np.uint8]  # [height, width, 3] in OpenCV's order, BGR


@dataclass(frozen=True)
class Found:
    """The detections of one image, best first.

    boxes: [N, 4], x1 y1 x2 y2 in pixels of the original image.
    scores: [N].
    labels: [N], indices of classes.
    masks: [N, m, m] probabilities on a grid over each box; None if the model has no masks.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: NDArray[np.float32] | None


class OnnxDetector:
    """An exported model.

    Args:
        file: the model.
        threads: CPU threads that it uses.

    Raises:
        InputError: the file is no model, or states no contract.
    """

    def __init__(self, file: Path, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self.session = onnxruntime.InferenceSession(
                file, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has a class for each reason, all without a base
            problem = f"cannot be run ({type(error).__name__}: {error})"
            raise InputError(file, "", problem, "what icd export writes") from error
        self.file = file
        stated = self.session.get_modelmeta().custom_metadata_map
        self.contract = read_contract(stated, file)

    def __call__(self, images: Sequence[Image]) -> list[Found]:
        """The detections of some images, which are one batch."""
        feeds, factors = self.feeds(images)
        return self.found(self.session.run(None, feeds), factors)

    def feeds(self, images: Sequence[Image]) -> tuple[dict[str, NDArray[Any]], NDArray[np.float32]]:
        """Inputs of a batch, and by how much its images were resized ([B, 2]: width, height).

        Raises:
            InputError: they do not fit into a model with a fixed size.
        """
        contract, pixels = self.contract, self.contract.pixels
        ready = [prepared(image, contract.resize, pixels) for image in images]
        shape = self.shape([image.shape for image in ready])
        count = contract.batch or len(images)  # a smaller batch is filled with empty images
        padded = np.full((count, 3, *shape), pixels.pad_value, np.float32)
        sizes = np.full((count, 2), shape)
        factors = np.ones((len(images), 2), np.float32)
        for i, (image, original) in enumerate(zip(ready, images, strict=True)):
            height, width = sizes[i] = image.shape[1:]
            padded[i, :, :height, :width] = image
            factors[i] = width / original.shape[1], height / original.shape[0]
        return {"images": padded, "sizes": sizes}, factors

    def shape(self, shapes: Sequence[tuple[int, ...]]) -> tuple[int, int]:
        """Height and width of the padded batch of images [3, h, w]."""
        divisor = self.contract.pixels.pad_divisor
        height, width = (-(-max(shape[i] for shape in shapes) // divisor) * divisor for i in (1, 2))
        if self.contract.size is None:
            return height, width
        limit = self.contract.size[0], self.contract.size[1]
        if height > limit[0] or width > limit[1]:
            problem = f"a resized image needs {height} x {width} pixels"
            raise InputError(self.file, "size", problem, f"at most {limit[0]} x {limit[1]}")
        return limit

    def found(self, outputs: Sequence[NDArray[Any]], factors: NDArray[np.float32]) -> list[Found]:
        """The detections in the outputs of a batch, in pixels of the original images."""
        nms, found = self.contract.suppression, []
        for i, factor in enumerate(factors):
            boxes, scores, labels, *masks = (output[i] for output in outputs)
            kept = np.flatnonzero(labels >= 0)
            if not nms.in_graph:
                groups = np.zeros_like(labels) if nms.class_agnostic else labels
                best = kept_boxes(boxes[kept], scores[kept], groups[kept], nms.iou_threshold)
                kept = kept[best[: nms.detections]]
            grid = masks[0][kept] if masks else None
            scaled = boxes[kept] / np.tile(factor, 2)
            found.append(Found(scaled, scores[kept], labels[kept], grid))
        return found


def prepared(image: Image, resize: Resize, pixels: Pixels) -> NDArray[np.float32]:
    """An image as a model takes it, [3, h, w], before padding."""
    width, height = resized(image.shape[1], image.shape[0], (resize.longest, resize.shortest))
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    ordered = small[..., ::-1] if pixels.channels == "RGB" else small
    mean, std = (np.array(values, np.float32) for values in (pixels.mean, pixels.std))
    return ((ordered.astype(np.float32) - mean) / std).transpose(2, 0, 1)


def kept_boxes(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    groups: NDArray[np.int64],
    iou_threshold: float,
) -> NDArray[np.int64]:
    """Indices of the boxes [N, 4] that greedy suppression within groups [N] keeps, best first."""
    corners = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    extents = np.concatenate(corners, 1).astype(np.float64)
    given = extents, scores.tolist(), groups.tolist()
    kept = cv2.dnn.NMSBoxesBatched(*given, -1, iou_threshold)
    return np.array(kept, np.int64)


def pasted(
    grid: NDArray[np.float32], box: NDArray[np.float32], shape: tuple[int, int], threshold: float
) -> NDArray[np.bool_]:
    """A mask [height, width] of the original image, from its grid [m, m] over a box.

    Each pixel has the bilinear interpolation of the grid at its centre, as in mmdet.
    """
    (height, width), cells = shape, len(grid)

    def weights(low: float, high: float, length: int) -> NDArray[np.float32]:
        """Share of each cell in each pixel along an axis, [length, cells]."""
        extent = np.maximum(high - low, np.finfo(np.float32).tiny)
        place = (np.arange(length) + 0.5 - low) / extent * cells - 0.5
        return np.clip(1 - np.abs(place[:, None] - np.arange(cells)), 0, None).astype(np.float32)

    x1, y1, x2, y2 = box
    return weights(y1, y2, height) @ grid @ weights(x1, x2, width).T >= threshold
