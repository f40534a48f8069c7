"""KD-DETR against an independent version in float64, and with real detectors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, kl_divergence
from torchvision.ops import box_convert, generalized_box_iou_loss

from icd.errors import InputError
from icd.methods.kddetr import KDDETR, layers_to_imitate, point_losses
from icd.methods.query_predictions import Answers, QueryPredictions
from tests.training.detrs import CONFIGS, pair

Losses = dict[str, Tensor]
NAMES = ("loss_classes", "loss_boxes", "loss_overlap")


@pytest.fixture(autouse=True)
def _on_the_cpu(mmdet_on_the_cpu: None) -> None:
    """Results are compared, so no GPU is used."""


def answers(layers: int, seed: int, scale: float = 2.0) -> Answers:
    """Random answers to four queries for two images, in float64."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(layers, 2, 4, 3, generator=generator, dtype=torch.float64)
    boxes = 0.1 + 0.8 * torch.rand(layers, 2, 4, 4, generator=generator, dtype=torch.float64)
    return Answers(logits.requires_grad_(), boxes.requires_grad_())


def expected_losses(student: Answers, teacher: Answers, layers: list[int]) -> Losses:
    """Point by point, with the functions of libraries."""
    totals = {name: torch.zeros((), dtype=torch.float64) for name in NAMES}
    images = student.logits.shape[1]
    for own, other in enumerate(layers):
        for image in range(images):
            weights = [max(point.sigmoid().tolist()) for point in teacher.logits[other, image]]
            for i, weight in enumerate(weights):
                ours, theirs = (
                    (side.logits[layer, image, i], side.boxes[layer, image, i])
                    for side, layer in ((student, own), (teacher, other))
                )
                target, place = theirs[0].detach(), theirs[1].detach()
                kl = kl_divergence(Bernoulli(logits=target), Bernoulli(logits=ours[0])).sum()
                box = [box_convert(b[None], "cxcywh", "xyxy")[0] for b in (ours[1], place)]
                found = {
                    "loss_classes": kl,
                    "loss_boxes": (ours[1] - place).abs().sum(),
                    "loss_overlap": generalized_box_iou_loss(*box, eps=1e-14),
                }
                for name in NAMES:
                    totals[name] = totals[name] + weight * found[name] / sum(weights) / images
    return totals


@pytest.mark.parametrize(("ours", "theirs"), [(1, 1), (2, 2), (2, 3), (3, 1)])
def test_values_and_gradients(ours: int, theirs: int) -> None:
    student, teacher = answers(ours, 1), answers(theirs, 2)
    layers = {(2, 3): [1, 2], (3, 1): [0, 0, 0]}.get((ours, theirs), [*range(ours)])
    found, expected = point_losses(student, teacher), expected_losses(student, teacher, layers)
    inputs = (student.logits, student.boxes)
    for name in NAMES:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-12)
        gradients = [
            torch.autograd.grad(loss[name], inputs, allow_unused=True, retain_graph=True)
            for loss in (found, expected)
        ]
        for own, other in zip(*gradients, strict=True):
            assert (own is None) == (other is None)
            if own is not None and other is not None:
                torch.testing.assert_close(own, other, rtol=1e-7, atol=1e-10)
    (none,) = torch.autograd.grad(total(found), teacher.logits, allow_unused=True)
    assert none is None


def test_layers_of_a_deeper_teacher_are_evenly_spread() -> None:
    assert layers_to_imitate(3, 6) == [1, 3, 5]
    assert layers_to_imitate(6, 6) == [0, 1, 2, 3, 4, 5]
    assert layers_to_imitate(6, 3) == [0, 0, 1, 1, 2, 2]


def test_certain_points_count_more() -> None:
    """A point that the teacher takes for background hardly counts."""
    teacher = Answers(torch.tensor([[[[9.0], [-9.0]]]]), torch.full((1, 1, 2, 4), 0.5))
    off = [teacher.boxes.clone() for _ in range(2)]
    for i, boxes in enumerate(off):
        boxes[..., i, 0] = 0.7
    losses = [point_losses(Answers(teacher.logits, one), teacher)["loss_boxes"] for one in off]
    assert losses[0] == pytest.approx(0.2, rel=1e-3)
    assert losses[1] == pytest.approx(0.2 * 1.2341e-4, rel=1e-2)


def test_extreme_answers_are_finite() -> None:
    logits = torch.tensor([[[[80.0, -80.0], [-80.0, 80.0]]]])
    boxes = torch.tensor([[[[0.5, 0.5, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0]]]])
    student = Answers(logits.flip(-1).requires_grad_(), boxes.flip(2).requires_grad_())
    losses = point_losses(student, Answers(logits, boxes))
    total(losses).backward()
    for value in (*losses.values(), student.logits.grad, student.boxes.grad):
        assert value is not None
        assert torch.isfinite(value).all()


def total(losses: Losses) -> Tensor:
    return torch.stack([*losses.values()]).sum()


def losses_of(method: KDDETR, predictions: QueryPredictions, iteration: int = 0) -> Losses:
    targets: Any = None  # it uses neither the pyramids nor the annotations
    return method.forward([], [], targets, iteration, predictions)


@pytest.mark.parametrize("kind", CONFIGS)
def test_with_its_own_weights_as_teacher_a_student_has_nothing_to_learn(kind: str) -> None:
    both = pair(kind, same=True)
    _, predictions = both.predictions()
    losses = losses_of(KDDETR(general=9), predictions)
    assert losses.keys() == {*NAMES}
    assert all(abs(loss.item()) < 1e-3 for loss in losses.values())
    _, predictions = pair(kind).predictions()
    assert total(losses_of(KDDETR(general=9), predictions)) > 0.5


@pytest.mark.parametrize("kind", ["deformable", "dino"])
def test_steps_train_the_student_alone(kind: str) -> None:
    """With a deeper teacher that has another number of queries."""
    both = pair(kind, layers=3, queries=5)
    method, history = KDDETR(general=6), []
    optimizer = torch.optim.Adam(both.student.parameters(), lr=3e-3)
    teacher = {name: value.clone() for name, value in both.teacher.state_dict().items()}
    for _ in range(6):
        optimizer.zero_grad()
        loss = total(losses_of(method, both.predictions()[1]))
        loss.backward()
        history.append(loss.item())
        optimizer.step()
    assert history[-1] < 0.8 * history[0]
    assert all(parameter.grad is None for parameter in both.teacher.parameters())
    assert all(torch.equal(teacher[name], v) for name, v in both.teacher.state_dict().items())
    reached = {name for name, p in both.student.named_parameters() if p.grad is not None}
    for part in ("backbone.layer2", "neck", "encoder", "decoder", "bbox_head"):
        assert any(name.startswith(part) for name in reached)
    assert not any(name.startswith("query_embedding") for name in reached)  # not its queries


def test_both_kinds_of_points_count() -> None:
    _, predictions = pair("deformable").predictions()
    both = losses_of(KDDETR(general=4), predictions)
    specific = losses_of(KDDETR(general=0), predictions)
    general = losses_of(KDDETR(general=4, specific=False), predictions)
    for name in NAMES:
        low, high = sorted([specific[name].item(), general[name].item()])
        assert low < both[name].item() < high  # a mean of both


def test_random_points_are_new_in_each_iteration_and_the_same_again() -> None:
    _, predictions = pair("dino").predictions()
    found = [
        losses_of(KDDETR(specific=False, general=4, seed=seed), predictions, iteration)
        for seed, iteration in ((0, 0), (0, 0), (0, 1), (1, 0))
    ]
    first, again, later, other = (one["loss_boxes"].item() for one in found)
    assert first == again
    assert len({first, later, other}) == 3


def test_the_loss_of_a_batch_is_the_mean_over_its_images() -> None:
    """So that processes and shares of a batch, which have as many images each, can be averaged."""
    student, teacher = answers(2, 1), answers(2, 2)
    whole = point_losses(student, teacher)
    alone = [
        point_losses(
            *(
                Answers(one.logits[:, i : i + 1], one.boxes[:, i : i + 1])
                for one in (student, teacher)
            )
        )
        for i in range(2)
    ]
    for name in NAMES:
        torch.testing.assert_close(whole[name], sum(one[name] for one in alone) / 2)


def test_without_points_there_is_nothing_to_learn() -> None:
    with pytest.raises(InputError, match="no queries to share"):
        KDDETR(general=0, specific=False)


@pytest.mark.parametrize(
    ("option", "name"), [*zip(("classification", "distance", "overlap"), NAMES, strict=True)]
)
def test_weights(option: str, name: str) -> None:
    _, predictions = pair("deformable").predictions()
    options: dict[str, Any] = {option: 0.5, "general": 4, "weight": 3.0}
    weighed = losses_of(KDDETR(**options), predictions)
    plain = losses_of(KDDETR(**options | {option: 1.0, "weight": 1.0}), predictions)
    assert weighed[name].item() == pytest.approx(1.5 * plain[name].item(), rel=1e-5)
