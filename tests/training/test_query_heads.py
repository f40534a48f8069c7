"""What methods see of the decoders of Deformable DETR and DINO, against the detectors."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.apis import init_detector
from mmdet.registry import MODELS
from mmengine.optim import build_optim_wrapper
from mmengine.structures import InstanceData
from torch import Tensor, nn

from icd.errors import InputError
from icd.experiments.recipe import Optimizer
from icd.methods.query_predictions import Answers, Queries
from icd.training.accumulate import step
from icd.training.checkpoint import write_weights
from icd.training.optimisation import optim_wrapper
from icd.training.precision import set_precision
from icd.training.query_heads import QueryHeads
from icd.training.teacher import Teacher
from tests.lab import Lab, differing, snapshot, teacher_of, weights
from tests.training.detrs import (
    BACKBONE,
    CONFIGS,
    LEVELS,
    Pair,
    batch,
    built,
    changes,
    config,
    pair,
)

KINDS = [*CONFIGS]
SGD = Optimizer(type="SGD", lr=1e-3)


def answers_of(model: Any, pair: Pair) -> Answers:
    """What a detector predicts for its own queries."""
    with torch.no_grad():
        return Answers(*model.eval()(pair.images, pair.samples, mode="tensor"))


def same(found: Answers, expected: Answers) -> bool:
    return torch.equal(found.logits, expected.logits) and torch.equal(found.boxes, expected.boxes)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_the_detectors(kind: str) -> None:
    both = pair(kind)
    losses, found = both.predictions()
    assert same(found.teacher.answers, answers_of(both.teacher, both))
    assert not found.teacher.answers.logits.requires_grad
    expected = answers_of(both.student, both)
    close(found.student.answers.logits, expected.logits)
    close(found.student.answers.boxes, expected.boxes)
    assert found.student.answers.logits.requires_grad
    again = found.student.ask(
        found.student.queries
    )  # the student's own, without those that denoise
    close(again.boxes, expected.boxes)
    assert found.student.queries.content.shape[:2] == (2, 7)
    assert "loss_cls" in losses


@pytest.mark.parametrize("kind", KINDS)
def test_watching_changes_nothing(kind: str) -> None:
    both = pair(kind)
    torch.manual_seed(0)  # of the queries that denoise
    losses, _ = both.predictions()
    torch.manual_seed(0)
    expected = both.student(both.images, both.samples, mode="loss")
    assert losses.keys() == expected.keys()
    assert all(torch.equal(losses[name], value) for name, value in expected.items())
    assert "forward_decoder" not in vars(both.student)
    assert not both.student.bbox_head._forward_hooks


@pytest.mark.parametrize("kind", ["deformable", "refined"])
def test_a_student_answers_the_teachers_queries_as_if_they_were_its_own(kind: str) -> None:
    both = pair(kind)
    _, found = both.predictions()
    copied = copy.deepcopy(both.student)
    for part in ("query_embedding", "reference_points_fc"):
        getattr(copied, part).load_state_dict(getattr(both.teacher, part).state_dict())
    answers, expected = found.student.ask(found.teacher.queries), answers_of(copied, both)
    close(answers.logits, expected.logits)
    close(answers.boxes, expected.boxes)


def test_dino_takes_boxes_and_contents_of_its_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    both = pair("dino")
    _, found = both.predictions()
    theirs = found.teacher.queries
    assert theirs.position is None
    copied = copy.deepcopy(both.student).eval()
    forward = copied.forward_decoder

    def with_theirs(**given: Any) -> Any:
        return forward(**given | {"query": theirs.content, "reference_points": theirs.reference})

    monkeypatch.setattr(copied, "forward_decoder", with_theirs)
    expected = answers_of(copied, both)
    close(found.student.ask(theirs).boxes, expected.boxes)


@pytest.mark.parametrize("kind", KINDS)
def test_the_teacher_computes_what_is_asked_for_alone(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, calls = pair(kind), []
    for name in ("forward_encoder", "forward_decoder"):
        before = getattr(both.teacher, name)

        def counted(before: Any = before, name: str = name, **given: Any) -> Any:
            calls.append(name)
            return before(**given)

        monkeypatch.setattr(both.teacher, name, counted)
    _, found = both.predictions()
    assert found.student.answers
    assert not calls
    assert found.teacher.queries
    assert calls == ["forward_encoder"]
    assert found.teacher.answers is found.teacher.answers
    assert calls == ["forward_encoder", "forward_decoder"]


def random_queries(kind: str, count: int = 50) -> tuple[Pair, Queries]:
    both = pair(kind)
    _, found = both.predictions()
    return both, found.teacher.random_queries(count, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", KINDS)
def test_random_queries_are_uniform_and_fit_the_teacher(kind: str) -> None:
    both, queries = random_queries(kind)
    teacher = both.teacher
    for part in (queries.content, queries.reference, queries.position):
        if part is not None:
            assert part.shape[:2] == (2, 50)
            assert torch.equal(part[0], part[1])
            assert not part.requires_grad
    content, reference = queries.content[0], queries.reference[0]
    assert ((reference > 0) & (reference < 1)).all()
    if teacher.as_two_stage:
        assert reference.shape[1] == 4
        assert ((reference.mean(dim=0) - 0.5).abs() < 0.15).all()
        assert ((reference.std(dim=0) - 12**-0.5).abs() < 0.07).all()
    else:
        expected = teacher.reference_points_fc(queries.position)
        close(queries.reference, expected.sigmoid())
    if kind != "two-stage":  # there, all comes from the boxes
        learned = teacher.query_embedding.weight
        parts = [content] if queries.position is None else [queries.position[0], content]
        drawn = torch.cat(parts, dim=1)
        low, high = learned.amin(dim=0), learned.amax(dim=0)
        assert ((drawn >= low) & (drawn <= high)).all()
        places = (drawn - low) / (high - low)
        assert (places.mean() - 0.5).abs() < 0.05


def test_queries_of_two_stages_follow_from_their_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions and contents are those that the detector gives to proposals at these places."""
    both, queries = random_queries("two-stage", count=7)
    logits = queries.reference.logit(eps=1e-6)
    vectors = both.teacher.pos_trans_norm(
        both.teacher.pos_trans_fc(both.teacher.get_proposal_pos_embed(logits))
    )
    assert queries.position is not None
    close(torch.cat([queries.position, queries.content], dim=2), vectors)


def test_a_batch_without_objects() -> None:
    both = pair("dino")
    for sample in both.samples:
        sample.gt_instances = InstanceData(
            bboxes=sample.gt_instances.bboxes[:0], labels=sample.gt_instances.labels[:0]
        )
    _, found = both.predictions()
    assert found.student.answers.logits.shape == found.teacher.answers.logits.shape


@pytest.mark.parametrize(
    ("student", "teacher", "changes", "words"),
    [
        ("deformable", "dino", {}, "type is DeformableDETR for the student, DINO for the teacher"),
        ("refined", "two-stage", {}, "as_two_stage is False for the student"),
        (
            "deformable",
            "deformable",
            {"classes": 4},
            "is 5 for",
        ),
    ],
)
def test_other_pairs_are_refused(
    student: str, teacher: str, changes: dict[str, int], words: str
) -> None:
    models = built(student, 1), built(teacher, 2, **changes)
    with pytest.raises(InputError) as caught:
        QueryHeads(models[0], Teacher(models[1]), LEVELS)
    assert words in str(caught.value).replace(":", "")


def test_another_detector_is_named() -> None:
    with pytest.raises(InputError, match="of the student is Linear, whose queries are unknown"):
        QueryHeads(nn.Linear(1, 1), Teacher(nn.Linear(1, 1)), LEVELS)


@pytest.mark.parametrize("kind", ["deformable", "dino"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_distiller_trains_with_them(kind: str, precision: str, tmp_path: Path) -> None:
    """Beside another method, in shares of a batch, and with every parameter of the student."""
    write_weights(tmp_path / "model.pth", built(kind, seed=2))
    parts = {
        "kddetr": {"method": {"type": "icd.methods.kddetr.KDDETR", "general": 5}, "levels": "all"},
        "fitnet": {"method": {"type": "icd.methods.fitnet.FitNet"}, "levels": [8, 16]},
    }
    torch.manual_seed(0)
    model = MODELS.build(
        {
            "type": "Distiller",
            "student": config(kind),
            "teacher": {"config": config(kind), "checkpoint": str(tmp_path / "model.pth")},
            "method": {"parts": parts},
        }
    )
    nn.init.normal_(model.student.level_embed)
    set_precision(model.train(), precision, precision)
    optimizers = {"student": optim_wrapper(SGD), "joining": ["fitnet"]}
    optimizer = build_optim_wrapper(
        model, {"constructor": "DistillerOptimConstructor", **optimizers}
    )
    before, data = snapshot(model), batch()
    losses = [step(model, copy.deepcopy(data), optimizer, number=2) for _ in range(2)]
    assert all(torch.isfinite(value) for one in losses for value in one.values())
    assert {"kddetr.loss_classes", "kddetr.loss_overlap", "loss_cls"} < losses[0].keys()
    idle = {n for n, p in model.named_parameters() if p.requires_grad} - {
        *differing(before, snapshot(model))
    }
    assert not idle
    again = copy.deepcopy(model)
    assert again.heads.heads["kddetr"].student is again.student
    assert again.heads.heads["kddetr"].teacher is model.teacher


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["deformable", "dino"])
def test_a_run_resumes_exactly_and_leaves_a_plain_detector(lab: Lab, kind: str) -> None:
    lab = lab.changed(
        {
            "detectors": {"detr": {"config": CONFIGS[kind], "model": changes(kind)}},
            "backbones": {"detr": BACKBONE},
            "methods": {"kddetr": {"options": {"general": 5}}},
        }
    )
    run = lab.run(detector="detr", backbone="detr", method="kddetr", teacher={"backbone": "detr"})
    lab.place_untrained(teacher_of(run))
    folder = lab.train(run, checkpoint_every=3)
    once = weights(folder)
    for name in ("model.pth", "work/iter_6.pth"):
        (folder / name).unlink()
    (folder / "work/last_checkpoint").write_text(str(folder / "work/iter_3.pth"))
    assert not differing(weights(lab.train(run)), once)
    assert "kddetr" not in (folder / "model.py").read_text()
    detector = init_detector(str(folder / "model.py"), str(folder / "model.pth"), device="cpu")
    assert not differing(snapshot(detector), once)
    assert lab.evaluate(run)["metrics"]
