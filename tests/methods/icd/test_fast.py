"""The fast formulation equals the plain one, and keeps little memory for backward."""

from __future__ import annotations

import weakref
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from icd.methods.icd import fast, plain
from icd.methods.icd.method import ICD
from icd.methods.icd.queries import make_queries
from icd.methods.tokens import tokenize
from icd.methods.where import Where
from tests.methods.batches import Batch, gradient, random_method
from tests.methods.icd.test_reference import assert_same, gradients, make_batch, shapes

LAYOUTS = {"NCHW": torch.contiguous_format, "channels last": torch.channels_last}


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    """Whatever changes what is computed."""
    where = draw(st.sampled_from(sorted(get_args(Where))))
    return {
        "where": where,
        "fakes": draw(st.booleans()) if where == "instance" else False,
        "layers": draw(st.integers(0, 2)),
        "heads": draw(st.sampled_from([1, 4, 8])),
        "temperature": draw(st.sampled_from([1.0, 0.5, 3.0])),
        "normalise": draw(st.booleans()),
        "value_space": draw(st.sampled_from(["trained", "fixed", "identity"])),
    }


def check(method: ICD, batch: Batch, detach: bool) -> None:
    """All losses, and their gradients for all parameters and for the student's features."""
    student = [level.requires_grad_() for level in batch.student]
    queries = make_queries(batch.targets, method.draw(batch.targets, 0), method.jitter)
    given = batch.teacher, student, batch.targets, queries, detach
    found, expected = method.losses(*given), method.losses(*given, plain)
    assert found.keys() == expected.keys()
    inputs: dict[str, Tensor] = {n: p for n, p in method.named_parameters() if p.requires_grad}
    inputs |= {f"student {i}": level for i, level in enumerate(student)}
    for name, loss in expected.items():
        assert_same({name: found[name]}, {name: loss}, "value")
        assert_same(gradients(found[name], inputs), gradients(loss, inputs), name)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    shapes(),
    options(),
    st.booleans(),
    st.sampled_from([1, 100, 1000, 2**20]),
    st.sampled_from(sorted(LAYOUTS)),
    st.integers(0, 1000),
)
def test_equals_the_plain_formulation(
    shape: dict[str, Any],
    options: dict[str, Any],
    detach: bool,
    block: int,
    layout: str,
    seed: int,
) -> None:
    """For any shape, option and size of the blocks, in float64."""
    method, batch = (
        random_method(seed, channels=32, **options).double(),
        make_batch(shape, 32, seed),
    )
    for levels in (batch.teacher, batch.student):
        levels[:] = [level.to(memory_format=LAYOUTS[layout]) for level in levels]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast, "CPU_BLOCK", block)
        check(method, batch, detach)


@pytest.mark.parametrize("where", ["instance", "foreground"])
@pytest.mark.parametrize("counts", [(2, 0, 5), (0, 0, 0), (3, 3, 3)])
def test_images_may_have_different_numbers_of_objects(counts: tuple[int, ...], where: str) -> None:
    method = random_method(layers=2, channels=32, where=where).double()
    check(method, make_batch({"counts": counts}, 32), detach=False)


@pytest.mark.parametrize("shape", [{}, {"sizes": ((96, 128),) * 3}], ids=["padded", "whole"])
def test_attention_of_chosen_queries_is_that_of_their_logits(
    shape: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Summed over queries that are not the first ones, in however small blocks."""
    method, batch = random_method(heads=4).double(), make_batch(shape, 16)
    tokens = tokenize(batch.teacher, batch.targets.image_sizes, batch.targets.padded_size)
    queries = torch.randn(3, 7, 16, dtype=torch.float64)
    expected = method.decoder(queries, tokens, plain.look_up)[0]
    found = method.decoder(queries, tokens, fast.look_up)[0]
    chosen = [range(2, 5), range(0), range(5, 6)]
    counted = torch.tensor([[query in some for query in range(6)] for some in chosen])
    for elements in (1, 300, 30000, 2**20):
        monkeypatch.setattr(fast, "CPU_BLOCK", elements)
        for temperature in (1.0, 2.0):
            m = (expected.logits / temperature).softmax(dim=-1)
            each = [m[image, :, some].sum(dim=1) for image, some in enumerate(map(list, chosen))]
            torch.testing.assert_close(found.attention(counted, temperature), torch.stack(each))


@pytest.mark.parametrize("depth", [0, 2])
def test_outputs_are_those_of_the_plain_look_up(depth: int) -> None:
    method, batch = random_method(layers=depth).double(), make_batch({}, 16)
    tokens = tokenize(batch.teacher, batch.targets.image_sizes, batch.targets.padded_size)
    queries = torch.randn(3, 7, 16, dtype=torch.float64)
    outputs = (method.decoder(queries, tokens, path.look_up) for path in (fast, plain))
    for found, expected in zip(*outputs, strict=True):
        torch.testing.assert_close(found.queries, expected.queries)
        torch.testing.assert_close(found.values, expected.values)
        assert not found.values.requires_grad


# --- The student's side -----------------------------------------------------------------------

C, M, L = 8, 2, 7


def random_input(heads: int = M) -> tuple[Tensor, nn.Linear, Tensor, Tensor]:
    """Student features, their projection, the teacher's values and weights with some zeros."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weights = random(2, heads, L).exp()
    weights[1, :, 3:] = 0
    values = random(2, L, M, C // M).transpose(1, 2)
    return random(2, L, C), nn.Linear(C, C, dtype=torch.float64), values, weights


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("heads", [1, M])
@pytest.mark.parametrize("block", [1, 3 * C, 5 * C, 2**20])
def test_gradients_are_those_of_differences(
    block: int, heads: int, normalise: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the student's features, and of weight and bias of its projection."""
    monkeypatch.setattr(fast, "CPU_BLOCK", block)
    student, projection, values, weights = random_input(heads)

    class Loss(nn.Module):
        """The loss by the student's features; its parameters are those of the projection."""

        def __init__(self) -> None:
            super().__init__()
            self.projection = projection

        def forward(self, features: Tensor) -> Tensor:
            return fast.imitation_loss(features, self.projection, values, weights, normalise)

    def loss(weight: Tensor, bias: Tensor, features: Tensor) -> Tensor:
        parameters = {"projection.weight": weight, "projection.bias": bias}
        return torch.func.functional_call(Loss(), parameters, (features,))

    inputs = [projection.weight, projection.bias, student]
    assert torch.autograd.gradcheck(loss, [x.detach().requires_grad_() for x in inputs])


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("block", [5 * C, 2**20])
@pytest.mark.parametrize("heads", [1, M])
def test_is_the_loss_of_projected_values(
    heads: int, block: int, normalise: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "CPU_BLOCK", block)
    given = random_input(heads)
    found, expected = (path.imitation_loss(*given, normalise) for path in (fast, plain))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("warm", [True, False])
def test_features_without_gradient_get_none(warm: bool) -> None:
    student, projection, values, weights = random_input()
    student.requires_grad_(not warm)
    fast.imitation_loss(student, projection, values, weights, True).backward()
    assert (student.grad is None) == warm
    assert gradient(projection.weight).any()


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("tokens", [1, L])
def test_the_inputs_stay_as_they_are(tokens: int, normalise: bool) -> None:
    """What is computed in place is a copy."""
    student, projection, values, weights = random_input()
    student, values, weights = student[:, :tokens], values[:, :, :tokens], weights[..., :tokens]
    before = student.clone(), values.clone(), weights.clone()
    fast.imitation_loss(student, projection, values, weights, normalise)
    assert all(torch.equal(*pair) for pair in zip((student, values, weights), before, strict=True))


# --- Memory -----------------------------------------------------------------------------------


def saved_for_backward(method: ICD, batch: Batch) -> float:
    """Elements with a place per token that the losses keep until their backward pass."""
    sizes = [level.shape[-2:] for level in batch.teacher]
    tokens = sum(size.numel() for size in sizes)
    given = {level.untyped_storage().data_ptr() for level in (*batch.teacher, *batch.student)}
    seen: list[weakref.ref[Tensor]] = []

    def note(tensor: Tensor) -> Tensor:
        seen.append(weakref.ref(tensor))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        losses = method(batch.teacher, batch.student, batch.targets, 0)
    assert all(loss.requires_grad for loss in losses.values())
    kept: dict[int, int] = {}
    for tensor in [tensor for held in seen if (tensor := held()) is not None]:
        place = tensor.untyped_storage()
        per_token = tokens in tensor.shape or (tensor.ndim == 4 and tensor.shape[-2:] in sizes)
        if per_token and place.data_ptr() not in given:
            kept[place.data_ptr()] = place.nbytes() // tensor.itemsize
    return sum(kept.values()) / tokens


@pytest.mark.parametrize("objects", [1, 12])
def test_keeps_keys_values_and_the_student_s_gradient_for_any_number_of_queries(
    objects: int,
) -> None:
    """Besides them only the mask of valid tokens: no attention map, nothing else of the student."""
    batch = make_batch({"counts": (objects,), "sizes": ((96, 128),)}, 16)
    for level in batch.student:
        level.requires_grad_()
    method = random_method(layers=1, heads=4, query_cap=300).double()
    assert saved_for_backward(method, batch) == 16 + 16 + 16 + 1
