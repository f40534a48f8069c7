"""What methods are told of dense heads is what mmdet's heads predict, and what their loss used."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mmdet.models.dense_heads import GFLHead
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.registry import MODELS
from torch import Tensor

from icd.errors import InputError
from icd.methods.predictions import TowerPredictions, valid_priors
from icd.methods.shares import computing, counting
from icd.methods.tokens import valid_levels
from icd.training.distiller import Distiller
from icd.training.heads import entered, heads_of
from icd.training.parallel import share_counts
from icd.training.precision import set_precision
from tests.lab import Lab, batch, differing, snapshot
from tests.training.asking import DETECTORS, Asking, pair

SIZES = [(64, 64), (40, 56)]
OBJECTS = [3, 1]
PRECISIONS = ("float32", "bfloat16")


def told(model: Distiller, objects: list[int] | None = None) -> TowerPredictions:
    """The predictions for a batch."""
    model(**prepared(model, objects or OBJECTS), mode="loss")
    return asking(model).predictions


def asking(model: Distiller) -> Asking:
    """The method of a model that :func:`pair` made."""
    assert isinstance(model.method, Asking)
    return model.method


def prepared(model: Distiller, objects: list[int]) -> dict[str, Any]:
    data = copy.deepcopy(batch(objects, SIZES))
    return model.data_preprocessor(data, training=True)


@pytest.mark.parametrize("detector", DETECTORS)
def test_predictions_are_those_of_the_two_heads(lab: Lab, detector: str) -> None:
    """Boxes as mmdet itself decodes them, in a head that trains and in one that does not."""
    model = pair(lab, detector)
    found = told(model)
    student, teacher = model.student, model.teacher.detector
    images = prepared(model, OBJECTS)["inputs"]
    for dense, one in ((found.student, student), (found.teacher, teacher)):
        with torch.no_grad():
            levels = one.train(one is student).extract_feat(images)
            outputs = one.bbox_head.eval()(levels)
        for image in range(2):
            logits, boxes = by_mmdet(one.bbox_head, outputs, image)
            ours = torch.cat([level[image] for level in dense.logits])
            torch.testing.assert_close(ours, logits, rtol=1e-4, atol=1e-5)
            ours = torch.cat([level[image] for level in dense.boxes])
            torch.testing.assert_close(ours, boxes, rtol=1e-4, atol=1e-3)
    assert all(level.requires_grad for level in (*found.student.logits, *found.student.sides))
    assert not any(level.requires_grad for level in (*found.teacher.logits, *found.teacher.boxes))


def by_mmdet(head: Any, outputs: Any, image: int) -> tuple[Tensor, Tensor]:
    """Logits [P, C] and boxes [P, 4] of all priors, with mmdet's functions, in eval mode."""
    logits, boxes = [], []
    priors = head.prior_generator.grid_priors([x.shape[-2:] for x in outputs[0]], device="cpu")
    for i, own in enumerate(priors):
        score, side = (kind[i][image].permute(1, 2, 0) for kind in outputs[:2])
        logits.append(score.reshape(-1, head.cls_out_channels))
        if isinstance(head, GFLHead):
            own = head.anchor_center(own)
            side = (
                head.integral(side.reshape(-1, side.shape[-1])) * head.prior_generator.strides[i][0]
            )
        boxes.append(head.bbox_coder.decode(own, side.reshape(len(own), 4)))
    return torch.cat(logits), torch.cat(boxes)


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_assignment_is_that_of_the_students_loss(
    lab: Lab, detector: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels and weights as the loss function receives them, objects as the assigner found them."""
    model = pair(lab, detector)
    head: Any = model.student.bbox_head
    received: list[tuple[Any, Any]] = []
    assigned: list[AssignResult] = []
    loss = head.loss_cls.forward
    monkeypatch.setattr(head.loss_cls, "forward", _recorded(loss, received))
    if detector != "fcos":
        assign = head.assigner.assign
        monkeypatch.setattr(head.assigner, "assign", _recorded_result(assign, assigned))
    assignment, method = told(model).assignment, asking(model)
    labels = torch.cat([x.flatten() for x in assignment.labels])
    weights = torch.cat([x.flatten() for x in assignment.weights])
    targets = [target[0] if isinstance(target, tuple) else target for target, _ in received]
    assert torch.equal(labels, torch.cat(targets))
    if detector != "fcos":  # it has no weights
        assert torch.equal(weights, torch.cat([weight for _, weight in received]))
    positive = torch.cat(assignment.positive, dim=1)
    assert 0 < positive.sum() == assignment.positives < positive.numel()
    assert all((weight > 0).any() for weight in assignment.weights)
    objects = torch.cat(assignment.objects(method.targets), dim=1)
    assert torch.equal(objects >= 0, positive)
    boxes = torch.cat(assignment.boxes, dim=1)
    for image in range(2):
        truth = method.targets.boxes[image]
        own = positive[image]
        torch.testing.assert_close(
            boxes[image][own], truth[objects[image][own]], rtol=1e-4, atol=1e-3
        )
        if assigned:  # the assigner sees only the anchors in the image
            known = assigned[image].gt_inds
            assert torch.equal(known[known > 0] - 1, objects[image][own])


def _recorded(loss: Any, received: list) -> Any:
    def forward(pred: Tensor, target: Any, weight: Any = None, **kwargs: Any) -> Tensor:
        received.append((target, weight))
        return loss(pred, target, weight, **kwargs)

    return forward


def _recorded_result(assign: Any, assigned: list) -> Any:
    def called(*args: Any, **kwargs: Any) -> AssignResult:
        assigned.append(assign(*args, **kwargs))
        return assigned[-1]

    return called


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_assignment_is_known_before_the_networks_run(lab: Lab, detector: str) -> None:
    """Gradient accumulation counts its positive priors; asking counts nothing for the loss."""
    model = pair(lab, detector)
    data = prepared(model, OBJECTS)
    model(**data, mode="loss")
    found = asking(model)
    assert model.heads
    with counting() as counts:
        known = model.heads.assign(**data)
    assert not counts
    for kind in ("labels", "weights", "boxes"):
        for ours, seen in zip(
            getattr(known, kind), getattr(found.predictions.assignment, kind), strict=True
        ):
            assert torch.equal(ours, seen)


def test_only_the_levels_that_are_distilled(lab: Lab) -> None:
    found = told(pair(lab, "fcos", levels=[16, 64]))
    every = told(pair(lab, "fcos"))
    for dense in ("student", "teacher"):
        for kind in ("logits", "sides", "boxes"):
            some, all_five = (getattr(getattr(x, dense), kind) for x in (found, every))
            for ours, theirs in zip(some, all_five[1::2], strict=True):
                assert torch.equal(ours, theirs)
    assert [len(x) for x in found.priors] == [16, 1]
    assert [x.shape[1] for x in found.assignment.labels] == [16, 1]
    assert [x.shape[1] for x in found.cross(1).logits] == [16, 1]


def test_priors_in_the_padding_are_known(lab: Lab) -> None:
    model = pair(lab, "retinanet")
    found = told(model)
    method = asking(model)
    valid = valid_priors(method.pyramids[0], found, method.targets)
    cells = valid_levels(method.pyramids[0], method.targets)
    for ours, theirs, logits in zip(valid, cells, found.student.logits, strict=True):
        assert ours.shape == logits.shape[:2]
        assert torch.equal(ours, theirs.repeat_interleave(2, dim=1))  # two anchors at each cell
    assert not valid[0][1].all()


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("position", [0, 1])
def test_features_cross_into_the_teachers_head(lab: Lab, detector: str, position: int) -> None:
    """With the teacher's convolutions in the student, the whole teacher's head sees its pyramid."""
    model = pair(lab, detector)
    student, teacher = model.student.bbox_head, model.teacher.detector.bbox_head
    student.load_state_dict(teacher.state_dict())
    for scale in getattr(student, "scales", ()):
        scale.scale.data.fill_(3)  # the head after the crossing is the teacher's
    found, method = told(model), asking(model)
    pyramid = method.pyramids[1]
    before = [(name, id(module)) for name, module in teacher.named_modules()]
    crossed = found.cross(position)
    assert [(name, id(module)) for name, module in teacher.named_modules()] == before
    expected = teacher(pyramid)
    for ours, theirs in zip(crossed.logits, expected[0], strict=True):
        images, priors, classes = ours.shape
        theirs = theirs.permute(0, 2, 3, 1).reshape(images, priors, classes)
        torch.testing.assert_close(ours, theirs)
    for ours, theirs in zip(crossed.sides, expected[1], strict=True):
        torch.testing.assert_close(ours, theirs.permute(0, 2, 3, 1).reshape_as(ours))
    torch.stack([x.sum() for x in (*crossed.logits, *crossed.boxes)]).sum().backward()
    reached = {name for name, p in student.named_parameters() if p.grad is not None}
    towers = {name.split(".")[0] for name in reached}
    assert towers == ({"cls_convs", "reg_convs"} if position else set())
    assert model.student.backbone.conv1.weight.grad.any()
    assert all(p.grad is None for p in teacher.parameters())


def test_towers_are_put_back_when_the_head_fails(lab: Lab) -> None:
    head = pair(lab, "atss").teacher.detector.bbox_head
    before = dict(head.named_modules())
    with pytest.raises(IndexError), entered(head, {"cls_convs": [], "reg_convs": []}, 1):
        head([torch.zeros(1, 16, 2, 2)] * 5)
    assert dict(head.named_modules()) == before


@pytest.mark.parametrize("position", [-1, 2])
def test_features_can_only_cross_where_both_heads_have_them(lab: Lab, position: int) -> None:
    found = told(pair(lab, "retinanet"))
    with pytest.raises(InputError, match=f"position: is {position}, but .* have 1 convolutions"):
        found.cross(position)


@pytest.mark.parametrize(("own", "theirs"), [(o, t) for o in PRECISIONS for t in PRECISIONS])
def test_each_head_computes_in_its_precision(lab: Lab, own: str, theirs: str) -> None:
    """And all predictions are float32."""
    model = pair(lab, "fcos")
    exact = told(copy.deepcopy(model))
    set_precision(model, own, theirs)
    found = told(model)
    for dense in (found.student, found.teacher, found.cross(1)):
        assert {x.dtype for x in (*dense.logits, *dense.sides, *dense.boxes)} == {torch.float32}
    for name, precision in (("student", own), ("teacher", theirs)):
        logits, expected = (torch.cat(getattr(x, name).logits, 1) for x in (found, exact))
        assert torch.equal(logits, expected) == (precision == "float32")
        torch.testing.assert_close(logits, expected, rtol=0.1, atol=0.3)
    with torch.autocast("cpu", torch.bfloat16):  # as methods compute
        rounded = found.cross(1)
    assert all(
        torch.equal(a, b) for a, b in zip(rounded.logits, found.cross(1).logits, strict=True)
    )


@pytest.mark.parametrize("method", ["none", "icd"])
def test_who_does_not_ask_computes_the_same_and_nothing_more(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Nothing watches its heads, and the teacher's head stays idle."""
    model: Any = MODELS.build(lab.config(lab.run(method="icd")).model).train()
    head = model.student.bbox_head
    monkeypatch.setattr(model.teacher.detector.bbox_head, "forward", _fails)
    monkeypatch.setattr(head, "loss_by_feat", _checks_no_hooks(head, head.loss_by_feat))
    if method == "none":
        model = model.student
    assert len(model(**prepared(model, OBJECTS), mode="loss")) > 1


def _fails(*args: object) -> None:
    raise AssertionError("the teacher's head computes")


def _checks_no_hooks(head: Any, loss: Any) -> Any:
    def called(*args: Any) -> Any:
        assert "get_targets" not in vars(head)
        assert not any(module._forward_hooks for module in head.modules())
        return loss(*args)

    return called


def test_student_losses_are_its_own_and_nothing_stays_behind(lab: Lab) -> None:
    model = pair(lab, "gfl")
    plain = copy.deepcopy(model.student)
    data = prepared(model, OBJECTS)
    found, expected = model(**data, mode="loss"), plain(**data, mode="loss")
    assert found.keys() == expected.keys() | {"loss_nothing"}
    for name, values in expected.items():
        assert all(torch.equal(a, b) for a, b in zip(found[name], values, strict=True))
    assert not differing(snapshot(plain), snapshot(model.student))
    head: Any = model.student.bbox_head
    assert "get_targets" not in vars(head)
    assert not any(module._forward_hooks for module in head.modules())


def test_targets_are_watched_beneath_the_counting_of_shares(lab: Lab) -> None:
    """Data-parallel training replaces the same method of the head; it stays replaced."""
    model = pair(lab, "retinanet")
    share_counts(model, 2)
    head: Any = model.student.bbox_head
    replaced = head.get_targets
    with computing(0, 2, [torch.tensor(10.0)]):
        told(model)
    assert head.get_targets is replaced


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"anchor_generator": {"octave_base_scale": 3}}, "anchor_generator: differs"),
        ({"num_classes": 5}, "num_classes: is 5 for the student, 8 for the teacher"),
        ({"feat_channels": 8}, "feat_channels: is 8 for the student, 16 for the teacher"),
        ({"stacked_convs": 2}, "stacked_convs: is 2 for the student, 1 for the teacher"),
        ({"stacked_convs": 0}, "student is a RetinaHead, which has no cls_convs"),
    ],
    ids=str,
)
def test_heads_that_do_not_fit_are_refused(lab: Lab, change: dict, problem: str) -> None:
    model = pair(lab, "retinanet")
    config = lab.config(lab.run())
    config.merge_from_dict({"model": {"bbox_head": {"norm_cfg": None, **change}}})
    with pytest.raises(InputError, match=problem):
        heads_of(Asking(), MODELS.build(config.model), model.teacher, model.levels)


def test_detectors_without_such_heads_are_refused(lab: Lab) -> None:
    with pytest.raises(InputError, match=r"bbox_head: is missing in the student, a FasterRCNN"):
        pair(lab, "faster-rcnn")
    with pytest.raises(InputError, match=r"heads: of AskingForQueries is 'query'; expected one of"):
        pair(lab, "retinanet", "AskingForQueries")
    model = pair(lab, "atss")
    model.student.bbox_head = MODELS.build(
        {"type": "FoveaHead", "num_classes": 6, "in_channels": 16}
    )
    with pytest.raises(InputError, match=r"student is a FoveaHead, .* expected a head whose loss"):
        heads_of(Asking(), model.student, model.teacher, model.levels)
