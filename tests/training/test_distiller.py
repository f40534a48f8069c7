"""The Distiller adds the method's losses to a student and changes nothing else."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from mmengine.runner import set_random_seed
from torch import Tensor, nn

from icd.errors import InputError
from icd.methods.adapter import Adapted
from icd.training.distiller import (
    Distiller,
    build_method,
    features_of,
    require_equal_widths,
    targets_of,
)
from icd.training.precision import use_bfloat16
from icd.training.pyramid import Pyramid
from tests.lab import Lab, batch, differing, snapshot, teacher_of

METHOD_LOSSES = {"loss_identification", "loss_localisation", "loss_distillation"}
# What methods call the losses by which the student imitates the teacher.
IMITATION = {"loss_distillation"} | {
    f"loss_{part}" for part in ("foreground", "background", "attention", "global")
}
PAST_WARMUP = 1000
# They move all logits of a query alike, so their gradient is nothing but rounding.
NO_EFFECT = ("key.bias", "position.bias")


@pytest.fixture
def student(lab: Lab, distiller: Distiller) -> nn.Module:
    """The distiller's student outside of any wrapper, with the same weights."""
    plain = MODELS.build(lab.config(lab.run()).model)
    plain.load_state_dict(distiller.student.state_dict())
    return plain


def losses_of(model: Any, data: dict) -> dict:
    """The losses of a batch as the data loader gives it, which is left as it is."""
    return model(**model.data_preprocessor(copy.deepcopy(data), training=True), mode="loss")


def total(losses: dict, names: Iterable[str]) -> Tensor:
    return sum(losses[name] for name in names)


def moved(part: nn.Module) -> set[str]:
    """Names of the parameters with a gradient that is not zero."""
    named = part.named_parameters()
    return {name for name, p in named if p.grad is not None and p.grad.count_nonzero() > 0}


def effective(model: nn.Module) -> set[str]:
    """Names of the parameters that training is bound to change."""
    named = model.named_parameters()
    return {name for name, p in named if p.requires_grad and not name.endswith(NO_EFFECT)}


def names(part: nn.Module, prefix: str = "") -> set[str]:
    return {name for name, _ in part.named_parameters() if name.startswith(prefix)}


def test_losses_of_the_student_are_its_own(distiller: Distiller, student: nn.Module) -> None:
    data = batch([2, 1, 0])
    expected, found = losses_of(student.train(), data), losses_of(distiller.train(), data)
    assert found.keys() == expected.keys() | METHOD_LOSSES
    for name, value in expected.items():
        for ours, theirs in zip(found[name], value, strict=True):
            assert torch.equal(ours, theirs)
    assert not differing(snapshot(student), snapshot(distiller.student))  # batch norm's counts


def test_total_loss_counts_every_part(distiller: Distiller) -> None:
    losses = losses_of(distiller, batch([2, 1]))
    loss, log = distiller.parse_losses(losses)
    assert log.keys() > METHOD_LOSSES
    parts = [value.item() for name, value in log.items() if name != "loss"]
    assert loss.item() == pytest.approx(sum(parts), rel=1e-5)


def test_predictions_are_the_students(distiller: Distiller, student: Any) -> None:
    data = batch([1, 1])
    with torch.no_grad():
        found = distiller.eval().test_step(copy.deepcopy(data))
        expected = student.eval().test_step(copy.deepcopy(data))
    for ours, theirs in zip(found, expected, strict=True):
        ours, theirs = ours.pred_instances, theirs.pred_instances
        assert len(theirs) > 0
        for key in ("bboxes", "scores", "labels"):
            assert torch.equal(ours[key], theirs[key])


def test_raw_outputs_are_the_students(distiller: Distiller, student: nn.Module) -> None:
    images = torch.randn(1, 3, 64, 64)
    for ours, theirs in zip(distiller.eval()(images), student.eval()(images), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(a, b)


def test_collects_what_the_neck_returns_and_lets_go(distiller: Distiller) -> None:
    neck, images = distiller.student.neck, torch.randn(1, 3, 64, 64)
    with features_of(neck) as seen:
        levels = distiller.student.extract_feat(images)
    distiller.student.extract_feat(images)
    assert len(seen) == 1
    assert all(a is b for a, b in zip(seen[0], levels, strict=True))
    assert not neck._forward_hooks


def test_lets_go_of_the_neck_when_the_student_fails(
    distiller: Distiller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        assert distiller.student.neck._forward_hooks
        raise RuntimeError("a head that fails")

    monkeypatch.setattr(distiller.student.bbox_head, "loss", fail)
    with pytest.raises(RuntimeError, match="a head that fails"):
        losses_of(distiller, batch([1]))
    assert not distiller.student.neck._forward_hooks


def test_the_student_starts_as_without_a_method(lab: Lab) -> None:
    starts = []
    for method in ("none", "icd"):
        config = lab.config(lab.run(method=method)).model
        set_random_seed(3)
        model = MODELS.build(config)
        model.init_weights()
        starts.append(snapshot(model.student if method == "icd" else model))
    assert not differing(*starts)


def test_the_auxiliary_task_does_not_reach_the_student(distiller: Distiller) -> None:
    distiller.iteration = PAST_WARMUP
    losses = losses_of(distiller, batch([2, 1]))
    total(losses, ("loss_identification", "loss_localisation")).backward()
    assert moved(distiller.student) == set()
    idle = names(distiller.method) - moved(distiller.method)
    assert names(distiller.method, "student_values") <= idle
    others = idle - names(distiller.method, "student_values")
    assert all(name.endswith(NO_EFFECT) for name in others)


def test_distillation_does_not_reach_the_decoder(distiller: Distiller) -> None:
    distiller.iteration = PAST_WARMUP
    losses_of(distiller, batch([2, 1]))["loss_distillation"].backward()
    assert moved(distiller.method) == names(distiller.method, "student_values")
    assert moved(distiller.student) >= names(distiller.student, "backbone.conv1")
    assert not moved(distiller.student.bbox_head)
    assert {f"fpn_convs.{i}.conv.weight" for i in range(5)} <= moved(distiller.student.neck)


@pytest.mark.parametrize(("iteration", "reaches"), [(0, False), (1, False), (2, True)])
def test_the_student_is_spared_during_warm_up(
    distiller: Distiller, iteration: int, reaches: bool
) -> None:
    distiller.iteration = iteration  # the lab's warm-up takes two
    losses_of(distiller, batch([2, 1]))["loss_distillation"].backward()
    assert bool(moved(distiller.student)) is reaches
    assert moved(distiller.method) == names(distiller.method, "student_values")


@pytest.mark.parametrize("objects", [[2, 1], [0, 1], [0, 0], [1], [400, 0]])
@pytest.mark.parametrize("iteration", [0, PAST_WARMUP])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_batch_touches_every_parameter(
    distiller: Distiller, objects: list[int], iteration: int, precision: str
) -> None:
    """And all losses and gradients are finite."""
    if precision == "bfloat16":
        use_bfloat16(distiller)
    distiller.iteration = iteration
    loss, log = distiller.parse_losses(losses_of(distiller, batch(objects)))
    loss.backward()
    assert all(torch.isfinite(value) for value in log.values())
    assert {n for n, p in distiller.named_parameters() if p.grad is None} == set()
    assert all(p.grad.isfinite().all() for p in distiller.parameters())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_image_that_is_almost_all_padding_is_finite(
    distiller: Distiller, precision: str
) -> None:
    if precision == "bfloat16":
        use_bfloat16(distiller)
    distiller.iteration = PAST_WARMUP
    losses = losses_of(distiller, batch([1, 2], [(256, 256), (20, 24)]))
    loss, log = distiller.parse_losses(losses)
    loss.backward()
    assert all(torch.isfinite(value) for value in log.values())
    assert all(p.grad.isfinite().all() for p in distiller.parameters())


def test_draws_depend_on_the_iteration_alone(distiller: Distiller) -> None:
    data = batch([2, 1])
    found: dict[int, Any] = {}
    for iteration in (5, 6, 5):
        torch.manual_seed(len(found))
        distiller.iteration = iteration
        loss = losses_of(distiller, data)["loss_identification"]
        assert found.setdefault(iteration, loss) == loss
    assert found[5] != found[6]


def test_targets_are_in_pixels_of_the_padded_batch(distiller: Distiller) -> None:
    data = batch([2, 0], [(40, 64), (50, 33)])
    ready = distiller.data_preprocessor(copy.deepcopy(data), training=True)
    targets = targets_of(ready["inputs"], ready["data_samples"], [8, 16])
    assert targets.image_sizes == [(40, 64), (50, 33)]
    assert targets.strides == [8, 16]
    assert targets.padded_size == (64, 64)  # a multiple of 32
    assert [boxes.shape for boxes in targets.boxes] == [(2, 4), (0, 4)]
    truth = data["data_samples"][0].gt_instances
    assert torch.equal(targets.boxes[0], truth.bboxes)
    assert torch.equal(targets.labels[0], truth.labels)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "fitnet"},
        {"method": "cwd"},
        {"method": "pkd"},
        {"method": "mgd"},
        {"method": "fgd"},
        {"method": "icd", "options": {"where": "fine_grained"}},
        {"method": "icd", "options": {"where": "activation"}},
        {"method": "icd", "options": {"fakes": True}},
    ],
    ids=["fitnet", "cwd", "pkd", "mgd", "fgd", "fine_grained", "activation", "fakes"],
)
def test_other_methods_and_places_train(lab: Lab, change: dict) -> None:
    """All that can learn moves; the distillation loss falls on a batch that is seen again."""
    config = lab.config(lab.run(**change))
    model = MODELS.build(config.model)
    model.init_weights()
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    model.train().iteration = PAST_WARMUP
    data, before, course = batch([2, 0]), snapshot(model), []
    for _ in range(8):
        log = model.train_step(copy.deepcopy(data), wrapper)
        assert all(torch.isfinite(value) for value in log.values())
        course.append(sum(log[name].item() for name in log.keys() & IMITATION))
    assert course[-1] < course[0]
    assert effective(model) <= set(differing(before, snapshot(model)))


@pytest.mark.parametrize("detector", ["fcos", "faster-rcnn"])
def test_any_detector_with_a_pyramid_can_be_the_student(lab: Lab, detector: str) -> None:
    run = lab.run(method="icd", detector=detector)
    lab.place_untrained(teacher_of(run))
    config = lab.config(run)
    model = MODELS.build(config.model)
    model.init_weights()
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    model.train().iteration = PAST_WARMUP
    data = batch([2, 1])
    losses_of(model, data)["loss_distillation"].backward()
    assert {f"fpn_convs.{i}.conv.weight" for i in range(3)} <= moved(model.student.neck)
    wrapper.zero_grad()
    before = snapshot(model)
    for _ in range(2):  # in the first, the residual branches are still switched off
        log = model.train_step(copy.deepcopy(data), wrapper)
    assert log.keys() > METHOD_LOSSES
    assert all(torch.isfinite(value) for value in log.values())
    assert effective(model) <= set(differing(before, snapshot(model)))


def test_pyramids_of_different_width_are_refused(lab: Lab) -> None:
    config = lab.config(lab.run(method="icd")).model.to_dict()
    config["student"]["neck"]["out_channels"] = 8
    with pytest.raises(InputError, match=r"neck\.out_channels: is 8 for") as raised:
        MODELS.build(config)
    place = "detectors.<name>.model.neck.out_channels"
    assert raised.value.expected.startswith(f"16 for both: set {place} in the track")
    assert raised.value.expected.endswith("; or adapter: true")


WIDE, MIXED = Pyramid.of([8, 16], [8, 8]), Pyramid.of([8, 16], [8, 4])


@pytest.mark.parametrize(
    ("student", "teacher", "said"),
    [
        (
            WIDE,
            MIXED,
            r"is 8 for the student, \[8, 4\] for the teacher; expected \[8, 4\] for both",
        ),
        (MIXED, WIDE, r"is \[8, 4\] for the student, 8 for the teacher"),
    ],
)
def test_widths_must_be_equal_level_by_level(student: Any, teacher: Any, said: str) -> None:
    with pytest.raises(InputError, match=rf"model: neck\.out_channels: {said}"):
        require_equal_widths(student, teacher, adapter=False)
    require_equal_widths(student, teacher, adapter=True)
    require_equal_widths(student, student, adapter=False)


@pytest.mark.parametrize(
    ("student", "regressor", "adapters"),
    [
        ([16, 8, 8], [(16, 16)] * 3, None),
        ([8, 4, 4], [(16, 8)] * 3, [(16, 8), (8, 4), (8, 4)]),
        ([16, 8, 4], [(16, 16)] * 3, [(16, 16), (8, 8), (8, 4)]),
    ],
)
def test_a_method_is_built_for_the_widest_level(
    student: list[int], regressor: list, adapters: list | None
) -> None:
    """FitNet maps the student's levels itself; CWD gets a convolution of each level's widths."""
    pair = [Pyramid.of([8, 16, 32], widths) for widths in (student, [16, 8, 8])]
    fitnet = build_method({"type": "icd.methods.fitnet.FitNet"}, *pair)
    assert widths(fitnet) == regressor
    cwd = build_method({"type": "icd.methods.cwd.CWD"}, *pair)
    assert isinstance(cwd, Adapted) == (adapters is not None)
    if isinstance(cwd, Adapted):
        assert widths(cwd) == adapters
        assert cwd.channels == 16


def widths(method: torch.nn.Module) -> list[tuple[int, ...]]:
    """Outgoing and incoming channels of a method's convolutions."""
    return [tuple(kernel.shape[:2]) for kernel in method.parameters() if kernel.dim() == 4]


@pytest.fixture
def one_process_group(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Data-parallel training of a single process."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("one_process_group")
def test_trains_data_parallel_as_it_does_alone(distiller: Distiller, lab: Lab) -> None:
    """Also with images without objects, and without looking for unused parameters."""
    config = lab.config(lab.run(method="icd")).optim_wrapper
    twin = copy.deepcopy(distiller)
    parallel = MMDistributedDataParallel(twin)
    for model in (distiller, parallel):
        wrapper = build_optim_wrapper(model, config)
        model.train()
        for objects in ([2, 1], [0, 0], [1, 2]):
            model.train_step(batch(objects), wrapper)
    assert not differing(snapshot(distiller), snapshot(twin))
