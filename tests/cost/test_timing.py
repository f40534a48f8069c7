"""Cost measurements on a tiny track: every row and each of its parts."""

from __future__ import annotations

import subprocess
import sys
from inspect import getclosurevars

import pytest
import torch

from icd.cost.cases import METHOD, STEP, Plan, Setting, load_plan
from icd.cost.models import batch, build, method_of, method_step, pyramids
from icd.cost.timing import allocated, clocked, measured_memory, steps
from icd.experiments.track import load_track


class Small(Plan):
    """One image, one round."""

    def settings(self, device: str) -> list[Setting]:
        (setting, *_) = super().settings(device)
        return [
            setting.model_copy(
                update={"images": 1, "rounds": 1, "objects": [2], "detectors": ["gfl"]}
            )
        ]


def small() -> Small:
    plan = load_plan(load_track("mini"))
    return Small(plan.track, plan.content)


def test_every_row_is_measured_as_a_step_and_alone():
    plan = small()
    expected = []
    for detector in ("retinanet", "gfl"):
        rows = list(plan.runs(detector))
        assert ("ld" in rows) == (detector == "gfl")
        parts = [("student", STEP), ("teacher", STEP)]
        parts += [(row, part) for row in rows for part in (METHOD, STEP)]
        expected += [(detector, *part) for part in parts]
    seconds = list(clocked(plan, "cpu"))
    assert [(line["detector"], line["row"], line["part"]) for line in seconds] == expected
    assert all(line["value"] > 0 for line in seconds)
    assert all(line["value"] >= 0 for line in measured_memory(plan, "cpu"))


def test_a_step_trains_student_and_method_and_parts_leave_no_gradients():
    plan = small()
    (setting,) = plan.settings("cpu")
    (columns, parts), (others, _) = steps(plan, setting, "cpu")
    measured = {"device": "cpu", "images": 1, "precision": "float32", "objects": 2}
    assert columns == {**measured, "detector": "retinanet"}
    assert others == {**measured, "detector": "gfl"}
    step = parts["icd", STEP]
    model = getclosurevars(getclosurevars(step).nonlocals["train"]).nonlocals["model"]
    step()
    before = {name: value.clone() for name, value in model.named_parameters()}
    step()
    moved = {n.split(".")[0] for n, v in model.named_parameters() if not torch.equal(v, before[n])}
    assert moved == {"student", "method"}
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_methods_compute_in_the_precision_that_is_measured(precision, dtype):
    plan, seen = small(), set()
    run = plan.runs("retinanet")["icd"]
    model = build(run, "cpu", precision)
    method = method_of(run, model, "cpu", precision)
    first = method.get_submodule("encoder.mlp.0")
    first.register_forward_hook(lambda module, x, output: seen.add(output.dtype))
    method_step(run, model, method, pyramids(model, batch((64, 64), 1, 2)))()
    assert seen == {dtype}


def test_a_process_that_only_measures_knows_what_configs_name():
    """The tests import more than ``icd cost`` does."""
    code = (
        "from icd import mmcv_ext; mmcv_ext.install()\n"
        "from icd.cost.models import batch, build, distilled_step\n"
        "from icd.cost.cases import load_plan\n"
        "from icd.experiments.track import load_track\n"
        "plan = load_plan(load_track('mini'))\n"
        "run = plan.runs('retinanet')['icd']\n"
        "model, data = build(run, 'cpu', 'float32'), batch((64, 64), 1, 2)\n"
        "distilled_step(run, model, model.method, data)()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_boxes_lie_in_their_images_and_are_as_many_as_asked_for():
    data = batch((64, 96), 2, 30)
    assert [image.shape for image in data["inputs"]] == [(3, 64, 96)] * 2
    for sample in data["data_samples"]:
        boxes = sample.gt_instances.bboxes
        assert boxes.shape == (30, 4)
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= torch.tensor([96, 64])).all()
        assert (boxes[:, 2:] - boxes[:, :2] > 3).all()


def test_memory_is_the_most_that_exists_at_once():
    def run() -> None:
        first = torch.empty(2**20)  # 4 MiB
        second = torch.empty(2**19)
        del first
        third = torch.empty(2**18)
        del second, third

    assert [allocated(run, "cpu") for _ in range(2)] == pytest.approx([6.0, 6.0])
