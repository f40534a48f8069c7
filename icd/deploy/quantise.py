"""An exported model with weights and activations in int8."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from icd.data.images import require_image
from icd.exported.runtime import OnnxDetector
from icd.files import atomic

# Where the time goes. What follows the networks (boxes, scores, suppression) stays float32.
QUANTISED = ["Conv", "Gemm"]


class TrainingImages(CalibrationDataReader):
    """Inputs of a model for some images, one batch after the other.

    Args:
        detector: the model in float32.
        files: images.
    """

    def __init__(self, detector: OnnxDetector, files: list[Path]) -> None:
        self.rest = self.feeds(detector, files)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self.rest, None)

    def feeds(self, detector: OnnxDetector, files: list[Path]) -> Iterator[dict[str, NDArray[Any]]]:
        """The batches."""
        batch = detector.contract.batch or 1
        for start in range(0, len(files), batch):
            images = [require_image(file) for file in files[start : start + batch]]
            yield detector.feeds(images)[0]


def quantise(model: Path, output: Path, files: list[Path]) -> None:
    """Write a model in int8: symmetric weights by channel, activations by calibration.

    Static quantisation stores the ranges of activations. Dynamic quantisation, which measures them
    in each run, is made for matrix products: onnxruntime has no fast convolution with it.

    Args:
        model: the model in float32.
        output: file to write.
        files: training images, from which the ranges of activations are estimated.
    """
    detector = OnnxDetector(model)
    contract = detector.contract.model_copy(update={"precision": "int8"})
    with tempfile.TemporaryDirectory() as place, atomic(output) as temporary:
        simplified = Path(place, "simplified.onnx")
        # Joins batch norms and convolutions. It could not infer dynamic shapes.
        quant_pre_process(model, simplified, skip_symbolic_shape=True)
        quantize_static(
            simplified,
            temporary,
            TrainingImages(detector, files),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=QUANTISED,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        content = onnx.load(temporary)
        del content.metadata_props[:]
        onnx.helper.set_model_props(content, contract.metadata())
        onnx.save(content, temporary)
