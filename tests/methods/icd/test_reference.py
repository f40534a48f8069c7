"""The method in float64 against a plain version of its equations, including gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from icd.methods.icd.method import ICD
from icd.methods.icd.queries import make_queries
from icd.methods.icd.sampling import QuerySamples
from tests.methods import reference
from tests.methods.batches import CLASSES, P2_P6, Batch, level_sizes, random_batch, random_method

TOLERANCE = 1e-11  # of the largest magnitude of a tensor
LOSSES = ("loss_identification", "loss_localisation", "loss_distillation")
THREE = {"sizes": ((96, 128), (70, 33), (81, 117)), "padded": (96, 128)}

# Each case: options of the method, then shape of the batch.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "depth 0": ({"layers": 0}, {}),
    "depth 1": ({"layers": 1}, {}),
    "depth 2": ({"layers": 2}, {}),
    "depth 3": ({"layers": 3}, {}),
    "one head": ({"heads": 1}, {}),
    "eight heads, depth 2": ({"heads": 8, "layers": 2}, {}),
    "a head per channel": ({"heads": 16, "normalise": False}, {}),
    "24 channels": ({"channels": 24, "heads": 3}, {}),
    "one image": ({}, {"counts": (3,), "sizes": ((90, 101),)}),
    "one object": ({}, {"counts": (1,), "sizes": ((96, 128),)}),
    "no object in one image": ({}, {"counts": (0,), "sizes": ((96, 77),)}),
    "no object in any image": ({"layers": 2}, {"counts": (0, 0, 0)}),
    "no object, depth 0": ({"layers": 0}, {"counts": (0, 0, 0)}),
    "queries at the cap": ({}, {"counts": (4, 1, 0)}),
    "more objects than the cap": ({"query_cap": 7}, {"counts": (1, 11, 7)}),
    "no fakes": ({"fake_ratio": 0.0}, {"counts": (2, 0, 1)}),
    "half a fake per object": ({"fake_ratio": 0.5}, {"counts": (3, 1, 4)}),
    "flat attention": ({"temperature": 4.0}, {}),
    "sharp attention": ({"temperature": 0.3, "layers": 2}, {}),
    "values as they are": ({"normalise": False}, {}),
    "no jitter": ({"jitter": 0.0}, {}),
    "scale bins for small images": ({"scale_offset": 2.5, "weight": 3.0}, {}),
    "P2-P6": ({}, {"padded": (64, 96), "sizes": ((64, 96), (41, 50), (17, 96)), "strides": P2_P6}),
    "odd sizes": (
        {},
        {
            "padded": (83, 57),
            "sizes": ((83, 51), (29, 57), (7, 3)),
            "levels": ((11, 8), (7, 5), (3, 3), (1, 1)),
        },
    ),
    "levels of one cell": ({}, {"levels": ((1, 1), (1, 1))}),
}


def make_batch(shape: dict[str, Any], channels: int, seed: int = 0) -> Batch:
    shape = {**THREE, **shape}
    if strides := shape.pop("strides", None):
        shape["levels"] = level_sizes(shape["padded"], strides)
    return random_batch(channels=channels, seed=seed, dtype=torch.float64, **shape)


def as_images(batch: Batch, draws: list[QuerySamples]) -> list[reference.Image]:
    targets = batch.targets
    return [
        reference.Image(
            teacher=[level[i] for level in batch.teacher],
            student=[level[i] for level in batch.student],
            boxes=targets.boxes[i].tolist(),
            labels=targets.labels[i].tolist(),
            size=targets.image_sizes[i],
            padded=targets.padded_size,
            fake_labels=draw.labels.tolist(),
            fake_boxes=draw.boxes.tolist(),
            jitter=draw.jitter.tolist(),
        )
        for i, draw in enumerate(draws)
    ]


def as_settings(method: ICD, options: dict[str, Any]) -> reference.Settings:
    renamed = {"layers": "depth", "query_cap": "cap"}
    given = {"heads": 4, "query_cap": 20, **options}
    given.pop("channels", None)
    return reference.Settings(CLASSES, **{renamed.get(k, k): value for k, value in given.items()})


def gradients(loss: Tensor, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The gradient of ``loss`` for each input, zero where there is none."""
    if not loss.requires_grad:
        return {name: torch.zeros_like(tensor) for name, tensor in inputs.items()}
    found = torch.autograd.grad(
        loss, list(inputs.values()), retain_graph=True, materialize_grads=True
    )
    return dict(zip(inputs, found, strict=True))


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor], what: str) -> None:
    """Equal to 1e-11 of each tensor's magnitude, or to rounding of the largest of them all."""
    largest = max(tensor.abs().max().item() for tensor in theirs.values())
    for name, tensor in theirs.items():
        bound = max(TOLERANCE * tensor.abs().max().item(), 1e-14 * largest)
        difference = (ours[name] - tensor).abs().max().item()
        assert difference <= bound, f"{what}: {name} differs by {difference}, allowed {bound}"


def check(options: dict[str, Any], shape: dict[str, Any], seed: int = 0) -> None:
    """Values and gradients of all three losses, for parameters and student features."""
    method = random_method(seed, **options).double()
    batch = make_batch(shape, method.channels, seed)
    inputs: dict[str, Tensor] = dict(method.named_parameters())
    inputs |= {f"student {i}": level.requires_grad_() for i, level in enumerate(batch.student)}

    draws = method.draw(batch.targets, iteration=seed)
    ours = method(batch.teacher, batch.student, batch.targets, iteration=seed)
    theirs = reference.losses(inputs, as_images(batch, draws), as_settings(method, options))

    assert set(ours) == set(LOSSES)
    for name in LOSSES:
        assert ours[name].dtype == torch.float64
        assert_same({name: ours[name]}, {name: theirs[name]}, "value")
        assert_same(gradients(ours[name], inputs), gradients(theirs[name], inputs), name)


@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_equal_the_equations(case: str) -> None:
    check(*CASES[case])


extents = st.integers(1, 90)


@st.composite
def shapes(draw: st.DrawFn) -> dict[str, Any]:
    """A batch of 1-2 images of any size on 1-3 levels of any size."""
    images = draw(st.integers(1, 2))
    sizes = draw(st.lists(st.tuples(extents, extents), min_size=images, max_size=images))
    return {
        "sizes": tuple(sizes),
        "padded": tuple(max(size[axis] for size in sizes) + draw(extents) for axis in (0, 1)),
        "counts": tuple(draw(st.integers(0, 3)) for _ in sizes),
        "levels": tuple(
            draw(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=3))
        ),
    }


@settings(max_examples=15, deadline=None, derandomize=True)
@given(shapes(), st.integers(0, 2), st.sampled_from([1, 4, 8]), st.integers(0, 1000))
def test_equations_hold_for_any_shape(
    shape: dict[str, Any], depth: int, heads: int, seed: int
) -> None:
    # 32 channels, as a layer norm over the two channels of a smaller head is ill-conditioned.
    check({"layers": depth, "heads": heads, "channels": 32}, shape, seed)


def test_the_reference_asks_the_questions_that_pose_asks() -> None:
    """Each field of the queries, before any parameter touches it."""
    method = random_method().double()
    batch = make_batch({"counts": (4, 0, 2)}, method.channels)
    draws = method.draw(batch.targets, iteration=3)
    queries = make_queries(batch.targets, draws, method.jitter)
    described = method.encoder.describe(queries)
    options = as_settings(method, {})
    for i, image in enumerate(as_images(batch, draws)):
        questions = reference.ask(image, options)
        assert queries.valid[i].tolist() == [
            k < len(questions) for k in range(queries.valid[i].numel())
        ]
        for k, question in enumerate(questions):
            assert queries.labels[i, k] == question.label
            assert queries.real[i, k] == question.real
            for name, value in (
                ("centres", question.centre),
                ("sizes", question.size),
                ("pixel_sizes", question.pixels),
                ("sides", question.sides),
            ):
                expected = torch.tensor(value, dtype=torch.float64)
                torch.testing.assert_close(
                    getattr(queries, name)[i, k], expected, rtol=0, atol=1e-12
                )
            code = torch.from_numpy(reference.encode(question, options))
            torch.testing.assert_close(described[i, k], code, rtol=0, atol=1e-12)
