"""Exported models find what mmdet finds, and state what they need.

All tests for which a detector is traced stand here: tracing takes seconds, and the tests of a file
share it.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import copy
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from mmengine.config import Config
from pycocotools import mask as run_lengths
from torch.utils.flop_counter import FlopCounterMode

from icd.__main__ import main
from icd.data.images import require_image
from icd.deploy.describe import Form, contract_of
from icd.deploy.evaluate import evaluate as evaluate_exported
from icd.deploy.export import load, save, traced
from icd.deploy.measure import measure
from icd.deploy.quantise import quantise
from icd.errors import InputError
from icd.evaluation.evaluate import evaluate
from icd.experiments.splits import Split
from icd.exported.contract import Contract
from icd.exported.runtime import Found, OnnxDetector, pasted
from icd.files import sha256
from tests.deploy.tiny import NAMES, SIDE, batch, place, predicted
from tests.full import short
from tests.lab import Lab

pytestmark = pytest.mark.slow

# One detector takes images of any size; a fixed size makes tracing faster.
# Suppression of dense and of two-stage detectors is tested with the others.
FORMS = {
    name: Form(
        nms=name not in ("gfl", "faster-rcnn"), size=None if name == "fcos" else (SIDE, SIDE)
    )
    for name in NAMES
}


@dataclass
class Exported:
    """A detector, its run and its model."""

    folder: Path
    detector: Any
    model: OnnxDetector


Exports = Callable[[str], Exported]


@pytest.fixture(scope="module")
def exported(lab_of_mini: Lab) -> Exports:
    """Exports a detector by its name, once."""

    @functools.cache
    def of(name: str) -> Exported:
        folder, form = place(lab_of_mini, name), FORMS[name]
        config = Config.fromfile(folder / "model.py")
        graph, file = load(config, folder, form), folder / "student.onnx"
        save(traced(graph, form, *batch()), contract_of(config, folder, graph, form), file)
        return Exported(folder, graph.detector, OnnxDetector(file))

    return of


@pytest.fixture(scope="module")
def images(shared_lab: Lab) -> Split:
    """The test split of the lab."""
    track = shared_lab.track
    return Split(annotations=str(track.annotations("test")), images=str(track.images("test")))


def options(images: Split) -> list[str]:
    """The test split as the command line names it."""
    return ["--annotations", images.annotations, "--images", images.images]


@pytest.mark.parametrize(
    "name", short(NAMES, lambda name: name in ("retinanet", "fcos", "mask-rcnn"))
)
def test_finds_what_mmdet_finds(exported: Exports, name: str) -> None:
    """In batches of two and of one. Without suppression, who runs the model does it."""
    one = exported(name)
    model = one.model
    for count in (2, 1):
        images, sizes = batch(count)
        feeds = {"images": images.numpy(), "sizes": sizes.numpy()}
        found = model.found(model.session.run(None, feeds), np.ones((count, 2), np.float32))
        for own, theirs in zip(found, predicted(one.detector, images, sizes), strict=True):
            assert len(theirs) > 20
            assert own.labels.tolist() == theirs.labels.tolist()
            np.testing.assert_allclose(own.boxes, theirs.bboxes, atol=1e-3)
            np.testing.assert_allclose(own.scores, theirs.scores, atol=1e-5)
            require_same_masks(own, theirs.get("masks"))


def require_same_masks(own: Found, theirs: torch.Tensor | None) -> None:
    assert (own.masks is None) == (theirs is None)
    if own.masks is None or theirs is None:
        return
    shape = (theirs.shape[1], theirs.shape[2])
    for grid, box, mask in zip(own.masks, own.boxes, theirs.numpy(), strict=True):
        assert (pasted(grid, box, shape, 0.5) != mask).mean() < 1e-3  # at the threshold
    assert 0.01 < theirs.float().mean() < 0.99


def test_takes_images_of_any_size(exported: Exports) -> None:
    one = exported("fcos")
    pixels, sizes = torch.randn(3, 3, 96, 2 * SIDE), torch.tensor([[96, 100], [80, 128], [90, 120]])
    feeds = {"images": pixels.numpy(), "sizes": sizes.numpy()}
    boxes, scores, labels = one.model.session.run(None, feeds)
    for i, theirs in enumerate(predicted(one.detector, pixels, sizes)):
        assert labels[i].tolist() == theirs.labels.tolist()
        np.testing.assert_allclose(boxes[i], theirs.bboxes, atol=1e-3)
        np.testing.assert_allclose(scores[i], theirs.scores, atol=1e-5)
    assert boxes[..., 2].max() > 1.2 * SIDE


def test_an_image_that_is_too_large_for_a_fixed_size_is_named(
    exported: Exports,
) -> None:
    model = exported("gfl").model
    assert model.shape([(3, 20, 64), (3, 64, 33)]) == (SIDE, SIDE)
    expected = r"onnx: size: a resized image needs 64 x 96 pixels; expected at most 64 x 64"
    with pytest.raises(InputError, match=expected):
        model.shape([(3, 64, 65)])


@pytest.mark.parametrize("name", ["fcos", "mask-rcnn"])
def test_scores_what_the_checkpoint_scores(exported: Exports, images: Split, name: str) -> None:
    """From images to AP by the contract alone; the detections are the same ones."""
    one = exported(name)
    output, model = one.folder / "onnx.json", one.model.file
    evaluate(one.folder, "test", one.folder / "metrics.json", files=images)
    command = ["evaluate", str(one.folder), "--onnx", str(model), "--output", str(output)]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main([*command, *options(images)]) == 0
    result, theirs = (json.loads((one.folder / n).read_text()) for n in (output, "metrics.json"))
    kinds = ["bbox", *["segm"] * (name == "mask-rcnn")]
    lines = printed.getvalue().splitlines()[-len(kinds) :]
    assert [line.split(":")[0] for line in lines] == [f"{kind} AP on test" for kind in kinds]
    assert result["checkpoint"] == theirs["metrics"]
    for kind in kinds:
        assert abs(result["difference"][kind]) < 1e-4
        assert result["metrics"][kind] == pytest.approx(theirs["metrics"][kind], abs=1e-3)
        own = json.loads(model.with_suffix(f".test.{kind}.json").read_text())
        require_same_entries(own, json.loads((one.folder / f"test/{kind}.json").read_text()))


def test_is_compared_with_its_own_checkpoint_on_the_same_data(
    exported: Exports, images: Split, tmp_path: Path
) -> None:
    one, other = exported("fcos"), exported("gfl")
    output, metrics = tmp_path / "onnx.json", other.folder / "metrics.json"
    given = (other.folder, other.model.file, "test", output)
    with pytest.raises(InputError, match=r"metrics\.json: does not exist; expected what `icd eval"):
        evaluate_exported(*given, files=images)
    metrics.write_text(json.dumps({"annotations_sha256": "other", "metrics": {}}))
    with pytest.raises(InputError, match="was measured on other annotations or images"):
        evaluate_exported(*given, files=images)
    with pytest.raises(InputError, match=f"is of other weights of {one.folder.name}; expected an"):
        evaluate_exported(other.folder, one.model.file, "test", output, files=images)
    assert not output.exists()


def require_same_entries(own: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Detections in COCO's format agree up to rounding, image by image."""
    assert len(own) == len(theirs) > 100
    for mine, other in zip(own, theirs, strict=True):
        assert mine["image_id"] == other["image_id"]
        assert mine["category_id"] == other["category_id"]
        assert mine["bbox"] == pytest.approx(other["bbox"], abs=1e-2)
        assert mine["score"] == pytest.approx(other["score"], abs=1e-4)
        if "segmentation" in other:
            masks = [run_lengths.decode(entry["segmentation"]) for entry in (mine, other)]
            assert (masks[0] != masks[1]).mean() < 1e-2


def test_states_its_contract(exported: Exports, lab_of_mini: Lab) -> None:
    one = exported("mask-rcnn")
    folder, model = one.folder, one.model
    stated = model.session.get_modelmeta().custom_metadata_map
    assert stated.keys() == Contract.model_fields.keys()
    content = {key: json.loads(text) for key, text in stated.items()}
    assert content["classes"] == lab_of_mini.inputs.survey["classes"]
    assert content["resize"] == {"longest": 64, "shortest": 64, "interpolation": "bilinear"}
    assert content["pixels"] == {
        "channels": "RGB",
        "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
        "pad_value": 0.0,
        "pad_divisor": 32,
    }
    assert content["suppression"] == {
        "in_graph": True,
        "iou_threshold": 0.5,
        "class_agnostic": False,
        "detections": 100,
    }
    assert (content["batch"], content["size"], content["run"]) == (None, [64, 64], folder.name)
    assert content["mask_threshold"] == 0.5
    assert content["checkpoint_sha256"] == sha256(folder / "model.pth")


@pytest.mark.parametrize("name", ["fcos", "gfl", "mask-rcnn"])
def test_inputs_and_outputs_are_those_of_the_contract(exported: Exports, name: str) -> None:
    """Names, types and shapes: numbers where they are fixed, names where they are not."""
    model = exported(name).model
    for stated, real in (
        (model.contract.inputs, model.session.get_inputs()),
        (model.contract.outputs, model.session.get_outputs()),
    ):
        assert list(stated) == [one.name for one in real]
        for one in real:
            kind, shape = stated[one.name].split("]")[0].split(" [")
            assert one.type == {"float32": "tensor(float)", "int64": "tensor(int64)"}[kind]
            for word, side in zip(shape.split(", "), one.shape, strict=True):
                assert str(side) == word or word in (*str(side).split("*"), "candidates")


def test_a_model_has_nothing_of_the_machine_that_wrote_it(
    exported: Exports,
) -> None:
    content = exported("fcos").model.file.read_bytes()
    assert b"site-packages" not in content
    assert str(Path(__file__).parents[2]).encode() not in content


def test_size_and_speed(
    exported: Exports, images: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch's counter has two operations for each multiply-add of mmengine's, and no norms."""
    one = exported("fcos")
    monkeypatch.setattr(
        "icd.deploy.measure.export", lambda folder, output, form: copy(one.model.file, output)
    )
    output = ["--output", str(tmp_path / "found.json")]
    assert main(["deployment", str(one.folder), *output, *options(images)]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    weights = torch.load(one.folder / "model.pth", weights_only=True)["state_dict"]
    assert found["parameters"] == sum(one.numel() for one in weights.values())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        one.detector(torch.zeros(1, 3, SIDE, SIDE), mode="tensor")
    assert counter.get_total_flops() / 2 < found["flops"] < 1.1 * counter.get_total_flops() / 2
    assert found["image"] == [SIDE, SIDE]
    assert found["megabytes"] == pytest.approx(one.model.file.stat().st_size / 1e6)
    assert 0 < found["milliseconds"] < 1000
    assert found["refused"] is None


def test_a_detector_that_cannot_be_exported_has_a_size_and_the_reason(
    lab_of_mini: Lab, images: Split, tmp_path: Path
) -> None:
    run = lab_of_mini.run(detector="condinst")
    lab_of_mini.place_untrained(run)
    measure(lab_of_mini.folder(run), "test", tmp_path / "found.json", images)
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["refused"] == (
        "CondInst cannot be exported: CondInst predicts in a way of its own"
    )
    assert found["milliseconds"] is None
    assert found["flops"] > 10 * found["parameters"] > 0


def test_int8_is_smaller_and_finds_nearly_the_same(exported: Exports, images: Split) -> None:
    """Calibrated on the images themselves. Random weights suffer more than trained ones."""
    model = exported("retinanet").model
    files = sorted(Path(images.images).glob("*.png"))
    quantise(model.file, output := model.file.with_name("int8.onnx"), files)
    small = OnnxDetector(output)
    assert small.contract == model.contract.model_copy(update={"precision": "int8"})
    pixels = [require_image(file) for file in files]
    found = sure = 0
    for own, theirs in zip(small(pixels), model(pixels), strict=True):
        for box, label in zip(theirs.boxes[:10], theirs.labels[:10], strict=True):
            near = np.abs(own.boxes - box).max(1) < 0.1 * SIDE
            found, sure = found + bool((near & (own.labels == label)).any()), sure + 1
    assert found > 0.5 * sure > 0
    assert output.stat().st_size < model.file.stat().st_size
    weights = {one.name: one.data_type for one in onnx.load(output).graph.initializer}
    convolutions = [name for name in weights if name.endswith("weight_quantized")]
    assert len(convolutions) > 10
    assert {weights[name] for name in convolutions} == {onnx.TensorProto.INT8}


def test_float16_computes_networks_in_half_precision(lab_of_mini: Lab, tmp_path: Path) -> None:
    """Through the whole of icd export, which also fixes batch and size."""
    folder, output = place(lab_of_mini, "retinanet"), tmp_path / "float16.onnx"
    options = ["--precision", "float16", "--batch", "2", "--size", str(SIDE), str(SIDE)]
    assert main(["export", str(folder), "--onnx", str(output), *options]) == 0
    model = OnnxDetector(output)
    assert (model.contract.precision, model.contract.batch) == ("float16", 2)
    pixels, sizes = batch()
    detector = load(Config.fromfile(folder / "model.py"), folder, Form()).detector
    boxes, scores, _ = model.session.run(None, {"images": pixels.numpy(), "sizes": sizes.numpy()})
    assert boxes.dtype == scores.dtype == np.float32
    best = predicted(detector, pixels, sizes)[0]
    assert 0 < np.abs(scores[0, :10] - best.scores[:10].numpy()).max() < 0.02
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    assert len(model([image])) == 1  # the batch is filled up
