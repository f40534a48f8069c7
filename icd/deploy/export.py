"""Writes the detector of a run as an ONNX model."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx_ir
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import Tensor
from torch.export import Dim

from icd.deploy.calibration import training_images
from icd.deploy.describe import Form, contract_of
from icd.deploy.graph import Graph
from icd.deploy.quantise import quantise
from icd.deploy.refusal import EXPORTED, refusal
from icd.deploy.suppression import translations
from icd.errors import InputError
from icd.exported.contract import Contract
from icd.files import atomic, require_file
from icd.training import plugins  # noqa: F401  (registers what configs name)
from icd.training.checkpoint import load_weights

OPSET = 18  # the one that torch.onnx recommends
INPUTS = ("images", "sizes")


def export(folder: Path, output: Path, form: Form, calibration: int = 0) -> None:
    """Write the ONNX model of a run.

    Args:
        folder: folder of the run with ``model.py`` and ``model.pth``.
        output: file to write.
        form: what the model shall be like.
        calibration: number of training images from which int8 takes the ranges of activations.

    Raises:
        InputError: the detector, or the way its images are prepared, cannot be exported.
    """
    model = require_file(folder / "model.py", "the config that a finished training leaves")
    config = Config.fromfile(model)
    graph = load(config, folder, form)
    contract = contract_of(config, folder, graph, form)
    program = traced(graph, form, *example(config, form))
    if form.precision != "int8":
        save(program, contract, output)
        return
    with tempfile.TemporaryDirectory() as place:
        floating = Path(place, "float32.onnx")
        save(program, contract, floating)
        quantise(floating, output, training_images(folder, config, calibration))


def load(config: Config, folder: Path, form: Form) -> Graph:
    """The detector of a run with its weights.

    Raises:
        InputError: it cannot be exported.
    """
    detector = built(config, folder)
    if reason := refusal(detector):
        problem = f"{type(detector).__name__} cannot be exported: {reason}"
        raise InputError(folder / "model.py", "model", problem, EXPORTED)
    if detector.with_mask and not form.nms:
        problem = "masks are computed for the boxes that non-maximum suppression keeps"
        raise InputError("icd export", "--no-nms", problem, "an export with suppression")
    return Graph(detector, form.nms, half=form.precision == "float16")


def built(config: Config, folder: Path) -> Any:
    """The detector of a run with its weights, in evaluation."""
    init_default_scope("mmdet")
    detector = MODELS.build(config.model).eval()
    load_weights(detector, folder / "model.pth")
    return detector


def example(config: Config, form: Form) -> tuple[Tensor, Tensor]:
    """A batch as the model takes it; only its shape matters."""
    divisor = config.model.data_preprocessor.get("pad_size_divisor", 1)
    steps = config.test_dataloader.dataset.pipeline
    (scale,) = (step["scale"] for step in steps if "scale" in step)
    height, width = form.size or (-(-side // divisor) * divisor for side in reversed(scale))
    images = torch.zeros(form.batch or 2, 3, height, width)  # 1 would make the batch a constant
    return images, torch.tensor([[height, width]] * len(images))


def traced(graph: Graph, form: Form, images: Tensor, sizes: Tensor) -> Any:
    """What torch.onnx makes of a detector.

    Raises:
        InputError: PyTorch cannot trace it.
    """
    batch = {} if form.batch else {0: Dim("batch")}
    divisor = graph.detector.data_preprocessor.pad_size_divisor
    sides = {2: divisor * Dim("height", min=2), 3: divisor * Dim("width", min=2)}
    shapes = (batch | ({} if form.size else sides), batch)
    with quiet(), torch.no_grad():
        try:
            program = torch.export.export(graph, (images, sizes), dynamic_shapes=shapes)
            return torch.onnx.export(
                program,
                input_names=INPUTS,
                dynamic_shapes=shapes,  # for the names of its sides
                output_names=graph.outputs,
                opset_version=OPSET,
                custom_translation_table=translations(),
                external_data=False,
                verbose=False,
            )
        except Exception as error:  # a backbone can do anything
            problem = f"torch.onnx cannot write it ({type(error).__name__}: {error})"
            expected = "networks that torch.export can trace"
            raise InputError(type(graph.detector).__name__, "", problem, expected) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Hide warnings about code that is not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def save(program: Any, contract: Contract, output: Path) -> None:
    """Write a traced detector with its contract, and without paths of the machine."""
    ClearMetadataAndDocStringPass()(program.model)  # stack traces of the export
    program.model.metadata_props.update(contract.metadata())
    with atomic(output) as temporary:
        onnx_ir.save(program.model, temporary)
