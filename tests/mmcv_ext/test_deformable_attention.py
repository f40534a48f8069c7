"""Multi-scale deformable attention as mmcv calls it on a GPU, against equation and differences."""

from __future__ import annotations

import pytest
import torch
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction
from torch import Tensor

from tests.devices import DEVICES

SHAPES = [(4, 5), (2, 3)]  # height and width of each level
STARTS = [0, 20]
QUERIES, HEADS, WIDTH, POINTS = 3, 2, 4, 2


def inputs(dtype: torch.dtype = torch.float64, device: str = "cpu") -> list[Tensor]:
    """Values, places (some outside of the image) and weights of two images."""
    generator = torch.Generator().manual_seed(0)
    places = (2, QUERIES, HEADS, len(SHAPES), POINTS)
    value = torch.randn(2, 26, HEADS, WIDTH, generator=generator, dtype=torch.float64)
    location = torch.rand(*places, 2, generator=generator, dtype=torch.float64) * 1.4 - 0.2
    weight = torch.rand(*places, generator=generator, dtype=torch.float64)
    return [x.to(device, dtype).requires_grad_() for x in (value, location, weight)]


def attended(value: Tensor, location: Tensor, weight: Tensor) -> Tensor:
    shapes, starts = (torch.tensor(x, device=value.device) for x in (SHAPES, STARTS))
    return MultiScaleDeformableAttnFunction.apply(value, shapes, starts, location, weight, 64)


def expected(value: Tensor, location: Tensor, weight: Tensor) -> Tensor:
    """Equation 3: a cell has its centre at its index + 1/2, and a tent as weight."""
    output = value.new_zeros(2, QUERIES, HEADS, WIDTH)
    for level, ((height, width), start) in enumerate(zip(SHAPES, STARTS, strict=True)):
        cells = value[:, start : start + height * width].unflatten(1, (height, width))
        x, y = location[:, :, :, level].unbind(-1)
        rows, columns = (
            (1 - (place[..., None] * size - 0.5 - torch.arange(size)).abs()).clamp(min=0)
            for place, size in ((y, height), (x, width))
        )
        output = output + torch.einsum(
            "nyxmd,nqmky,nqmkx,nqmk->nqmd", cells, rows, columns, weight[:, :, :, level]
        )
    return output.flatten(2)


@pytest.mark.parametrize("device", DEVICES)
def test_values_and_gradients_are_those_of_the_equation(device: str) -> None:
    ours, theirs = inputs(device=device), inputs()
    output, other = attended(*ours), expected(*theirs)
    torch.testing.assert_close(output.cpu(), other)
    upstream = torch.randn(other.shape, dtype=torch.float64)
    output.backward(upstream.to(device))
    other.backward(upstream)
    for one, reference in zip(ours, theirs, strict=True):
        assert one.grad is not None
        assert reference.grad is not None
        assert reference.grad.any()
        torch.testing.assert_close(one.grad.cpu(), reference.grad)


def test_gradients_are_derivatives() -> None:
    assert torch.autograd.gradcheck(attended, inputs(), fast_mode=True)


def test_low_precision_is_that_of_the_inputs() -> None:
    low = inputs(torch.float16)
    full = [x.detach().float().requires_grad_() for x in low]
    one, other = attended(*low), attended(*full)
    assert one.dtype == torch.float16
    torch.testing.assert_close(one, other.half())
    one.sum().backward()
    other.sum().backward()
    for half, whole in zip(low, full, strict=True):
        assert half.grad is not None
        assert whole.grad is not None
        torch.testing.assert_close(half.grad, whole.grad.half())
