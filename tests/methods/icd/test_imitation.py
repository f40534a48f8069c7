"""The imitation loss in chunks: gradients against differences, and against the plain formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from icd.methods.icd import imitation, packed
from icd.methods.icd.distillation import distillation_loss, normalise_values
from icd.methods.icd.imitation import Comparison, imitation_loss
from icd.methods.icd.packed import Layout

SIZES = ((3, 4), (2, 2))
WHOLE = Layout(SIZES, ((SIZES[0],) * 2, (SIZES[1],) * 2))
PADDED = Layout(SIZES, (((3, 4), (2, 3)), ((2, 2), (1, 2))))
C, M = 8, 2


def random_input(layout: Layout, heads: int = M) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Student levels, the teacher's values and weights that are zero in the padding."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    values = [random(M, len(group.images) * group.length, C // M) for group in layout.groups]
    weights = [
        layout.place(random(heads, length).exp(), i) for i, length in enumerate(layout.lengths)
    ]
    return [random(2, C, *size) for size in SIZES], values, torch.stack(weights)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("layout", [WHOLE, PADDED], ids=["whole", "padded"])
@pytest.mark.parametrize(("chunk", "cached"), [(3, 2**18), (2048, 2**18), (2048, 5 * C), (3, 1)])
def test_gradients_are_those_of_differences(
    chunk: int, cached: int, layout: Layout, normalise: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the student's features, and of weight and bias of its projection."""
    monkeypatch.setattr(packed, "CHUNK", chunk)
    monkeypatch.setattr(imitation, "CACHED", cached)
    layout = Layout(layout.level_sizes, layout.cells)  # which knows nothing of other chunks
    comparison = Comparison(layout, M, normalise)
    student, values, weights = random_input(layout)
    projection = nn.Linear(C, C, dtype=torch.float64)

    def loss(weight: Tensor, bias: Tensor, *levels: Tensor) -> Tensor:
        given = nn.Linear(C, C, dtype=torch.float64)
        del given.weight, given.bias
        given.weight, given.bias = weight, bias
        return imitation_loss(levels, given, values, weights, comparison)

    inputs = [projection.weight, projection.bias, *(x.requires_grad_() for x in student)]
    assert torch.autograd.gradcheck(loss, [x.detach().requires_grad_() for x in inputs])


@pytest.mark.parametrize("cached", [2**18, 5 * C])
@pytest.mark.parametrize("heads", [1, M])
def test_is_the_loss_of_projected_values(
    heads: int, cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imitation, "CACHED", cached)
    student, values, weights = random_input(WHOLE, heads)
    projection = nn.Linear(C, C, dtype=torch.float64)
    tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in student], dim=1)
    ours = projection(tokens).unflatten(-1, (M, -1)).transpose(1, 2)
    expected = distillation_loss(
        normalise_values(ours),
        normalise_values(torch.stack(values[0].split(WHOLE.lengths, dim=1))),
        weights,
    )
    found = imitation_loss(
        student, projection, values, weights, Comparison(WHOLE, M, normalise=True)
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("warm", [True, False])
def test_features_without_gradient_get_none(warm: bool) -> None:
    student, values, weights = random_input(WHOLE)
    student = [level.requires_grad_(not warm) for level in student]
    projection = nn.Linear(C, C, dtype=torch.float64)
    comparison = Comparison(WHOLE, M, normalise=True)
    imitation_loss(student, projection, values, weights, comparison).backward()
    assert all((level.grad is None) == warm for level in student)
    assert projection.weight.grad.any()


@pytest.mark.parametrize("tokens", [1, 7])
def test_the_teachers_values_stay_as_they_are(tokens: int) -> None:
    """What is computed in place is a copy, also where a transposed one would be the same."""
    student = torch.randn(C, tokens)
    teacher = torch.randn(tokens, M, C // M).transpose(0, 1)
    before = student.clone(), teacher.clone()
    Comparison(WHOLE, M, normalise=True).slope(student, teacher, torch.rand(M, tokens))
    assert torch.equal(student, before[0])
    assert torch.equal(teacher, before[1])
