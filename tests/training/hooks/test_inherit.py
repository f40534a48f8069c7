"""The inheriting strategy: which weights a student copies, and when."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.logging import MMLogger
from torch import nn

from icd.errors import InputError
from icd.experiments.run import TrainedRun
from icd.training.distiller import Distiller
from icd.training.hooks.inherit import InheritHook, inherit
from tests.lab import Lab, differing, snapshot, weights

# Five levels: three from the backbone, two on top of them.
OF_CONVS = ("conv.weight", "gn.weight", "gn.bias")
NECK = [f"neck.fpn_convs.{i}.{kind}" for i in range(5) for kind in OF_CONVS]
# The lateral convolutions start from the backbone's widths, which differ; their norms do not.
LATERAL_NORMS = [f"neck.lateral_convs.{i}.{kind}" for i in range(3) for kind in OF_CONVS[1:]]
LATERAL_WEIGHTS = [f"neck.lateral_convs.{i}.conv.weight" for i in range(3)]
HEAD = [
    *(f"bbox_head.{branch}_convs.0.conv.weight" for branch in ("cls", "reg")),
    *(f"bbox_head.{b}_convs.0.gn.{kind}" for b in ("cls", "reg") for kind in ("weight", "bias")),
    *(f"bbox_head.retina_{b}.{kind}" for b in ("cls", "reg") for kind in ("weight", "bias")),
]


@pytest.fixture
def student(lab: Lab) -> nn.Module:
    torch.manual_seed(5)
    return MODELS.build(lab.config(lab.run()).model)


@pytest.fixture
def theirs(lab: Lab, teacher: TrainedRun) -> dict[str, torch.Tensor]:
    return weights(lab.folder(teacher))


def hook(lab: Lab, teacher: TrainedRun) -> InheritHook:
    return InheritHook(str(lab.folder(teacher) / "model.pth"))


def runner(model: nn.Module, iteration: int = 0) -> SimpleNamespace:
    """As much of a Runner as the hook looks at."""
    logger = MMLogger.get_instance("test_inherit")
    return SimpleNamespace(model=model, iter=iteration, logger=logger)


def test_takes_over_neck_and_head_where_they_agree(student: nn.Module, theirs: dict) -> None:
    before = snapshot(student)
    taken, left = inherit(student, theirs)
    after = snapshot(student)
    assert sorted(taken) == sorted(NECK + LATERAL_NORMS + HEAD)
    assert left == sorted(LATERAL_WEIGHTS)
    assert all(torch.equal(after[name], theirs[name]) for name in taken)
    assert set(differing(before, after)) <= set(taken)
    assert {"neck.fpn_convs.0.conv.weight", *HEAD} <= set(differing(before, after))


def test_never_takes_the_backbone(student: nn.Module) -> None:
    """Not even that of a twin."""
    twin = {name: value + 1 for name, value in snapshot(student).items()}
    before = snapshot(student)
    taken, left = inherit(student, twin)
    assert left == []
    assert set(taken) == {name for name in before if not name.startswith("backbone.")}
    assert set(differing(before, snapshot(student))) == set(taken)


def test_a_teacher_with_nothing_to_inherit_is_refused(student: nn.Module, lab: Lab) -> None:
    file = lab.project / "stranger.pth"
    torch.save({"state_dict": {"backbone.conv1.weight": torch.ones(4, 3, 7, 7)}}, file)
    before = snapshot(student)
    with pytest.raises(InputError, match=r"stranger\.pth: state_dict: no tensor fits"):
        InheritHook(str(file)).before_train(runner(student))
    assert not differing(before, snapshot(student))


def test_of_a_distiller_the_student_inherits(
    distiller: Distiller, lab: Lab, teacher: TrainedRun, theirs: dict
) -> None:
    before = snapshot(distiller)
    hook(lab, teacher).before_train(runner(distiller))
    moved = differing(before, snapshot(distiller))
    assert "student.bbox_head.retina_cls.weight" in moved
    assert all(name.startswith(("student.neck.", "student.bbox_head.")) for name in moved)
    assert all(
        torch.equal(distiller.state_dict()[n], theirs[n.removeprefix("student.")]) for n in moved
    )


def test_a_data_parallel_model_inherits(student: nn.Module, lab: Lab, teacher: TrainedRun) -> None:
    before = snapshot(student)
    hook(lab, teacher).before_train(runner(nn.DataParallel(student)))
    assert differing(before, snapshot(student))


def test_inherits_once_and_not_when_resuming(
    student: nn.Module, lab: Lab, teacher: TrainedRun
) -> None:
    before = snapshot(student)
    hook(lab, teacher).before_train(runner(student, iteration=1))
    assert not differing(before, snapshot(student))
