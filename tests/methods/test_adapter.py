"""Pyramids of different widths: by a 1x1 convolution or the method's own projection."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from icd.methods.adapter import Adapted
from icd.methods.cwd import CWD
from icd.methods.fitnet import FitNet
from icd.methods.tokens import Targets
from tests.methods.batches import Batch, gradient, random_batch, random_method, run


def narrow(batch: Batch, channels: int = 6) -> Batch:
    """The same batch with fewer channels in the student's pyramid."""
    student = [level[:, :channels].detach().requires_grad_() for level in batch.student]
    return Batch(batch.teacher, student, batch.targets)


def test_the_method_sees_convolved_features_and_all_else_as_it_is() -> None:
    seen: list = []

    class Method(nn.Module):
        def forward(self, teacher: list, student: list, targets: Targets, iteration: int) -> dict:
            seen.extend([teacher, student, targets, iteration])
            return {"loss_some": student[0].sum()}

    batch = narrow(random_batch())
    adapted = Adapted(Method(), [6] * 5, [16] * 5, 16)
    assert run(adapted, batch, 7).keys() == {"loss_some"}
    teacher, student, targets, iteration = seen
    assert (teacher, targets, iteration) == (batch.teacher, batch.targets, 7)
    for conv, ours, level in zip(adapted.adapters, student, batch.student, strict=True):
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        weight, bias = conv.weight[:, :, 0, 0], conv.bias[:, None, None]
        expected = torch.einsum("oc,nchw->nohw", weight, level) + bias
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize(
    "method",
    [
        Adapted(CWD(), [6] * 5, [16] * 5, 16),
        FitNet(16, student_channels=6),
        random_method(student_channels=6),
        random_method(student_channels=6, layers=2),
    ],
    ids=["cwd", "fitnet", "icd", "icd of two layers"],
)
def test_narrow_students_and_what_maps_them_learn(method: nn.Module) -> None:
    batch = narrow(random_batch())
    run(method, batch)["loss_distillation"].backward()
    assert all(gradient(level).any() for level in batch.student[:-1])
    mapping = [p for p in method.parameters() if p.dim() > 1 and p.shape[1] == 6]
    assert len(mapping) > 0
    # On a level of one cell there is nothing to say of where a channel is active.
    idle = [p for p in mapping if not gradient(p).any()]
    assert len(idle) == isinstance(method, Adapted)


def test_another_number_of_levels_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        run(Adapted(CWD(), [6] * 4, [16] * 4, 16), narrow(random_batch()))


def test_each_level_has_a_convolution_of_its_own_widths() -> None:
    """The student's channels of zeros are not read, and what lacks of the teacher's is zero."""
    seen: list = []

    class Method(nn.Module):
        def forward(self, teacher: list, student: list, targets: Targets, iteration: int) -> dict:
            seen.extend(student)
            return {"loss_some": student[0].sum()}

    ours, theirs = [2, 6, 4, 6, 6], [16, 8, 4, 16, 16]
    batch = narrow(random_batch())
    adapted = Adapted(Method(), ours, theirs, 16)
    run(adapted, batch)
    kernels = [dict(conv.named_parameters())["weight"] for conv in adapted.adapters]
    shapes = [kernel.shape[:2] for kernel in kernels]
    assert shapes == [(other, own) for own, other in zip(ours, theirs, strict=True)]
    for conv, level, own, other, found in zip(
        adapted.adapters, batch.student, ours, theirs, seen, strict=True
    ):
        assert torch.equal(found[:, :other], conv(level[:, :own]))
        assert found.shape[1] == 16
        assert not found[:, other:].any()
