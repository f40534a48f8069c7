"""What the tests of all imitation methods share: batches, and a comparison with a definition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from tests.methods.batches import Batch, gradient, random_batch, run, total
from tests.methods.reference import valid_rows_and_columns

SHAPES: dict[str, dict[str, Any]] = {
    "padding": {},
    "no objects": {"counts": (0, 0, 0)},
    "tiny images": {"sizes": ((3, 2), (1, 1), (96, 1))},
    "levels of one cell": {"levels": ((1, 1),) * 5, "strides": (128,) * 5},
    "two levels": {"levels": ((6, 8), (3, 4)), "strides": (16, 32)},
}

Losses = Mapping[str, Tensor]
Method = TypeVar("Method", bound=nn.Module)


def double_batch(shape: str) -> Batch:
    """A batch in float64 whose features can have gradients."""
    batch = random_batch(dtype=torch.float64, **SHAPES[shape])
    for level in (*batch.teacher, *batch.student):
        level.requires_grad_()
    return batch


@dataclass(frozen=True)
class Piece:
    """The part of one level that sees the true image: [C, rows, columns] of teacher and student."""

    image: int
    level: int
    teacher: Tensor
    student: Tensor


def pieces(batch: Batch) -> Iterator[Piece]:
    """All levels of all images without their padding."""
    targets = batch.targets
    for image, size in enumerate(targets.image_sizes):
        for level, (theirs, ours) in enumerate(zip(batch.teacher, batch.student, strict=True)):
            full = (ours.shape[-2], ours.shape[-1])
            rows, columns = valid_rows_and_columns(size, targets.padded_size, full)
            cut = (image, slice(None), slice(rows), slice(columns))
            yield Piece(image, level, theirs[cut], ours[cut])


def noisy(method: Method) -> Method:
    """A method in float64, with parameters none of which is zero."""
    generator = torch.Generator().manual_seed(3)
    method = method.double()
    with torch.no_grad():
        for parameter in method.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(noise / max(parameter[0].numel(), 1) ** 0.5)
    return method


def check_values_and_gradients(method: nn.Module, batch: Batch, expected: Losses) -> None:
    """Each loss, and the gradient of their sum by all that learns, are those of a definition."""
    found = run(method, batch)
    assert found.keys() == expected.keys()
    for name, loss in found.items():
        assert loss.shape == ()
        torch.testing.assert_close(loss, expected[name], rtol=1e-10, atol=1e-12)
    learning = [*batch.student, *method.parameters()]
    ours, theirs = (
        torch.autograd.grad(total(dict(losses)), learning, allow_unused=True)
        for losses in (found, expected)
    )
    for own, reference in zip(ours, theirs, strict=True):
        assert own is not None  # else data-parallel training would stall
        reference = torch.zeros_like(own) if reference is None else reference
        torch.testing.assert_close(own, reference, rtol=1e-8, atol=1e-10)


def check_what_learns(method: nn.Module, batch: Batch) -> None:
    """Students and the method's own parameters get finite gradients, the teacher none."""
    total(run(method, batch)).backward()
    assert all(level.grad is None for level in batch.teacher)
    for tensor in (*batch.student, *method.parameters()):
        assert gradient(tensor).isfinite().all()
    targets = batch.targets
    for level in batch.student:
        for grad, size in zip(gradient(level), targets.image_sizes, strict=True):
            rows, columns = valid_rows_and_columns(size, targets.padded_size, grad.shape[-2:])
            padding = grad.clone()
            padding[:, :rows, :columns] = 0
            assert not padding.any()


def check_bfloat16(build: Callable[[], nn.Module], tolerance: float) -> None:
    """Under autocast, losses are float32 and close to those in single precision."""
    batch, method = random_batch(), build()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = run(method, batch)
    for name, loss in run(method, batch).items():
        assert rounded[name].dtype == torch.float32
        torch.testing.assert_close(rounded[name], loss, rtol=tolerance, atol=0)


def imitating(batch: Batch) -> Batch:
    """The same batch with a student whose features are the teacher's."""
    return replace(batch, student=[level.detach().clone() for level in batch.teacher])
