"""The method as it is computed against its plain formulation: values and gradients."""

from __future__ import annotations

import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from icd.methods.icd import packed, plain
from icd.methods.icd.method import ICD
from icd.methods.icd.packed import pack
from icd.methods.icd.queries import pose
from icd.methods.icd.where import WHERE
from icd.methods.tokens import tokenize
from tests.methods.batches import Batch, random_method
from tests.methods.icd.test_reference import assert_same, gradients, make_batch, shapes

LAYOUTS = {"NCHW": torch.contiguous_format, "channels last": torch.channels_last}


@st.composite
def options(draw: st.DrawFn) -> dict[str, object]:
    """Whatever changes what is computed."""
    where = draw(st.sampled_from(sorted(WHERE)))
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
    queries = pose(batch.targets, method.draw(batch.targets, 0), method.jitter)
    given = batch.teacher, student, batch.targets, queries, detach
    fast, expected = method.losses(*given), plain.losses(method, *given)
    assert fast.keys() == expected.keys()
    inputs = {n: p for n, p in method.named_parameters() if p.requires_grad}
    inputs |= {f"student {i}": level for i, level in enumerate(student)}
    for name, loss in expected.items():
        assert_same({name: fast[name]}, {name: loss}, "value")
        assert_same(gradients(fast[name], inputs), gradients(loss, inputs), name)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    shapes(),
    options(),
    st.booleans(),
    st.sampled_from([1, 7, 16, 40, 2048]),
    st.sampled_from(sorted(LAYOUTS)),
    st.integers(0, 1000),
)
def test_equals_the_plain_formulation(
    shape: dict[str, object],
    options: dict[str, object],
    detach: bool,
    chunk: int,
    layout: str,
    seed: int,
) -> None:
    """For any shape, option and size of the chunks, in float64."""
    method, batch = (
        random_method(seed, channels=32, **options).double(),
        make_batch(shape, 32, seed),
    )
    for levels in (batch.teacher, batch.student):
        levels[:] = [level.to(memory_format=LAYOUTS[layout]) for level in levels]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "CHUNK", chunk)
        check(method, batch, detach)


@pytest.mark.parametrize("where", ["instance", "foreground"])
@pytest.mark.parametrize("chunk", [300, 600, 4096])
def test_images_of_one_size_are_worked_on_together(
    chunk: int, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each alone, two together and all three, of 272 tokens, with as many queries as they have."""
    monkeypatch.setattr(packed, "CHUNK", chunk)
    shape = {"sizes": ((96, 128),) * 3, "counts": (2, 0, 5)}
    method = random_method(layers=2, channels=32, where=where).double()
    check(method, make_batch(shape, 32), detach=False)


@pytest.mark.parametrize("chunk", [5, 300, 500, 2048])
def test_tokens_are_those_of_the_plain_formulation_without_padding(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "CHUNK", chunk)
    batch = make_batch({}, 16)
    sizes = batch.targets.image_sizes, batch.targets.padded_size
    tokens, whole = pack(batch.teacher, *sizes, (1, 1, 1)), tokenize(batch.teacher, *sizes)
    chunks = [chunk for group in tokens.layout.groups for chunk in group.chunks]
    tokens_of = torch.cat([packed.gather(batch.teacher, chunk) for chunk in chunks])
    for image, found in enumerate(tokens_of.split(tokens.layout.lengths)):
        assert torch.equal(found, whole.features[image, whole.valid[image]])
        weights = torch.rand(2, len(found))
        placed = tokens.layout.place(weights, image)
        assert torch.equal(placed[:, whole.valid[image]], weights)
        assert not placed[:, ~whole.valid[image]].any()


@pytest.mark.parametrize("shape", [{}, {"sizes": ((96, 128),) * 3}], ids=["apart", "one group"])
def test_attention_of_chosen_queries_is_that_of_their_logits(
    shape: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Summed over queries that are not the first ones, in however small blocks."""
    method, batch = random_method(heads=4).double(), make_batch(shape, 16)
    sizes = batch.targets.image_sizes, batch.targets.padded_size
    queries = torch.randn(3, 6, 16, dtype=torch.float64)
    expected = method.decoder(queries, tokenize(batch.teacher, *sizes))[0]
    found = method.decoder(queries.flatten(0, 1), pack(batch.teacher, *sizes, (6, 6, 6)))[0]
    assert (len(found.searches) == 1) == bool(shape)
    chosen = [range(2, 5), range(0), range(5, 6)]
    for elements in (1, 300, 2**20):
        monkeypatch.setattr("icd.methods.icd.attention.MAP_ELEMENTS", elements)
        for temperature in (1.0, 2.0):
            m = (expected.logits / temperature).softmax(dim=-1)
            each = [m[image, :, some].sum(dim=1) for image, some in enumerate(map(list, chosen))]
            torch.testing.assert_close(found.attention(chosen, temperature), torch.stack(each))


def saved_for_backward(method: ICD, batch: Batch) -> int:
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
def test_keeps_keys_values_and_the_student_s_gradient_whatever_is_asked(objects: int) -> None:
    """No map of attention, and of the student only the gradient that it is going to get."""
    batch = make_batch({"counts": (objects,), "sizes": ((96, 128),)}, 16)
    for level in batch.student:
        level.requires_grad_()
    method = random_method(layers=1, heads=4, query_cap=300).double()
    assert saved_for_backward(method, batch) == 16 + 16 + 16
