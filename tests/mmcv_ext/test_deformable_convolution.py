"""Deformable convolution through mmcv, against its equation and by finite differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mmcv.ops
import pytest
import torch
from mmcv.ops.deform_conv import DeformConv2dFunction
from mmcv.ops.modulated_deform_conv import ModulatedDeformConv2dFunction
from torch import Tensor

from tests.devices import DEVICES


@dataclass(frozen=True)
class Case:
    """A convolution of 2 images of 5 x 6 pixels with kernels of 3 x 2; pairs are (y, x)."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (1, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    deform_groups: int = 1

    @property
    def sizes(self) -> list[int]:
        """Height and width of the output."""
        sides = zip((5, 6), (3, 2), self.stride, self.padding, self.dilation, strict=True)
        return [(side + 2 * p - d * (k - 1) - 1) // s + 1 for side, k, s, p, d in sides]

    def inputs(self, dtype: torch.dtype = torch.float64, device: str = "cpu") -> list[Tensor]:
        """Input, offset, mask, weight and bias; offsets of some pixels, also out of the image."""
        generator = torch.Generator().manual_seed(0)

        def random(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        places = self.deform_groups * 6
        tensors = [
            random(2, 4, 5, 6),
            2 * random(2, 2 * places, *self.sizes),
            random(2, places, *self.sizes).sigmoid(),
            random(6, 4 // self.groups, 3, 2),
            random(6),
        ]
        return [x.to(device, dtype).requires_grad_() for x in tensors]

    def plain(self, inputs: list[Tensor]) -> Tensor:
        """Without mask and bias, through mmcv."""
        image, offset, _, weight, _ = inputs
        return mmcv.ops.deform_conv2d(
            image, offset, weight, self.stride, self.padding, self.dilation, self.groups,
            self.deform_groups,
        )  # fmt: skip

    def modulated(self, inputs: list[Tensor], with_bias: bool = True) -> Tensor:
        """With a mask, through mmcv."""
        image, offset, mask, weight, bias = inputs
        return mmcv.ops.modulated_deform_conv2d(
            image, offset, mask, weight, bias if with_bias else None, self.stride, self.padding,
            self.dilation, self.groups, self.deform_groups,
        )  # fmt: skip

    def expected(self, inputs: list[Tensor], with_mask: bool, with_bias: bool) -> Tensor:
        """Equation 1 of the second paper, place by place of the kernel."""
        image, offset, mask, weight, bias = inputs
        of_group = image.unflatten(1, (self.deform_groups, -1))
        shifts = offset.unflatten(1, (self.deform_groups, 3, 2, 2))
        factors = mask.unflatten(1, (self.deform_groups, 3, 2))
        output: Any = bias[:, None, None] if with_bias else 0
        for i in range(3):
            for j in range(2):
                ys, xs = (
                    torch.arange(size, dtype=image.dtype) * s - p + k * d
                    for size, s, p, k, d in zip(
                        self.sizes, self.stride, self.padding, (i, j), self.dilation, strict=True
                    )
                )
                y = ys[:, None] + shifts[:, :, i, j, 0]
                x = xs + shifts[:, :, i, j, 1]
                sampled = bilinear(of_group, y, x)
                if with_mask:
                    sampled = sampled * factors[:, :, i, j, None]
                channels = sampled.flatten(1, 2).unflatten(1, (self.groups, -1))
                kernel = weight[:, :, i, j].unflatten(0, (self.groups, -1))
                output = output + torch.einsum("ngchw,gdc->ngdhw", channels, kernel).flatten(1, 2)
        return output


def bilinear(image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Values of images [n, g, c, H, W] at places [n, g, h, w]: [n, g, c, h, w].

    Each pixel has the weight of a tent over it, so outside of the image all is 0.
    """
    height, width = image.shape[-2:]
    rows = (1 - (y[..., None] - torch.arange(height)).abs()).clamp(min=0)
    columns = (1 - (x[..., None] - torch.arange(width)).abs()).clamp(min=0)
    return torch.einsum("ngcHW,nghwH,nghwW->ngchw", image, rows, columns)


CASES = {
    "one group": Case(),
    "strided": Case(stride=(2, 1), padding=(2, 1)),
    "dilated": Case(dilation=(1, 2), padding=(0, 2)),
    "groups": Case(groups=2),
    "deformable groups": Case(deform_groups=2),
    "both groups": Case(groups=2, deform_groups=4, stride=(1, 2)),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.mark.parametrize("device", DEVICES)
@every_case
def test_values_and_gradients_are_those_of_the_equation(case: Case, device: str) -> None:
    """Of the plain form, and of the modulated one with and without bias."""
    for form in ("plain", "modulated", "without bias"):
        with_mask, with_bias = form != "plain", form == "modulated"
        ours, theirs = case.inputs(device=device), case.inputs()
        output = case.modulated(ours, with_bias) if with_mask else case.plain(ours)
        expected = case.expected(theirs, with_mask, with_bias)
        assert list(output.shape[-2:]) == case.sizes
        torch.testing.assert_close(output.cpu(), expected)
        upstream = torch.randn(expected.shape, dtype=torch.float64)
        output.backward(upstream.to(device))
        expected.backward(upstream)
        for one, other in zip(ours, theirs, strict=True):
            assert (one.grad is None) == (other.grad is None)
            if one.grad is not None and other.grad is not None:
                assert other.grad.any()
                torch.testing.assert_close(one.grad.cpu(), other.grad)


@every_case
def test_gradients_are_derivatives(case: Case) -> None:
    inputs = case.inputs()
    assert torch.autograd.gradcheck(lambda *x: case.modulated(list(x)), inputs, fast_mode=True)
    image, offset, mask, weight, bias = inputs
    assert torch.autograd.gradcheck(
        lambda *x: case.plain([x[0], x[1], mask, x[2], bias]),
        [image, offset, weight],
        fast_mode=True,
    )


@pytest.mark.parametrize("fixed", [(0, 1), (3,), (0, 1, 3)])
def test_what_is_fixed_gets_no_gradient(fixed: tuple[int, ...]) -> None:
    """mmcv asks for gradients by input and offset, and by the weight, only as far as needed."""
    inputs, all_learn = CASES["groups"].inputs(), CASES["groups"].inputs()
    for place in fixed:
        inputs[place].requires_grad_(False)
    output = CASES["groups"].plain(inputs)
    assert output.requires_grad == (len(fixed) < 3)
    CASES["groups"].plain(all_learn).sum().backward()
    if output.requires_grad:
        output.sum().backward()
    for place in (0, 1, 3):
        expected = None if place in fixed else all_learn[place].grad
        torch.testing.assert_close(inputs[place].grad, expected)


def test_a_graph_can_be_used_twice() -> None:
    """The gradient of the weight that the first backward pass left behind is not taken for new."""
    inputs = CASES["one group"].inputs()
    output = CASES["one group"].plain(inputs)
    once, twice = (
        torch.autograd.grad(output, inputs[3], torch.full_like(output, scale), retain_graph=True)
        for scale in (1.0, 2.0)
    )
    torch.testing.assert_close(twice[0], 2 * once[0])


def test_im2col_step_changes_nothing() -> None:
    case = CASES["one group"]
    image, offset, _, weight, _ = case.inputs()
    one, both = (
        DeformConv2dFunction.apply(image, offset, weight, 1, (1, 0), 1, 1, 1, False, step)
        for step in (1, 32)
    )
    assert torch.equal(one, both)
    assert torch.equal(one, case.plain(case.inputs()))


def test_without_offsets_it_is_a_convolution() -> None:
    layer = mmcv.ops.ModulatedDeformConv2dPack(4, 6, 3, padding=1)
    plain = mmcv.ops.DeformConv2dPack(4, 6, 3, padding=1)
    image = torch.randn(2, 4, 8, 8)
    convolved = torch.nn.functional.conv2d(image, layer.weight, layer.bias, padding=1)
    # Both start with offsets of 0, and the masks with the sigmoid of 0.
    halved = (convolved - layer.bias[:, None, None]) / 2 + layer.bias[:, None, None]
    torch.testing.assert_close(layer(image), halved)
    convolved = torch.nn.functional.conv2d(image, plain.weight, padding=1)
    torch.testing.assert_close(plain(image), convolved)


def test_low_precision_is_that_of_the_inputs() -> None:
    case = CASES["both groups"]
    low = case.inputs(torch.bfloat16)
    full = [x.detach().float().requires_grad_() for x in low]
    for form in (case.plain, case.modulated):
        one, other = form(low), form(full)
        assert one.dtype == torch.bfloat16
        torch.testing.assert_close(one, other.bfloat16())
    case.modulated(low).sum().backward()
    case.modulated(full).sum().backward()
    for one, other in zip(low, full, strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad, other.grad.bfloat16())


def test_maps_of_a_finer_level_are_read_one_number_after_the_other() -> None:
    """DyHead hands those of 7 x 8 cells to a convolution with a smaller output; mmcv allows it."""
    case = Case(padding=(1, 0))
    image, offset, mask, weight, bias = case.inputs()
    large = [torch.randn(2, maps.shape[1], 7, 8, dtype=maps.dtype) for maps in (offset, mask)]
    used = [maps.detach().clone() for maps in large]
    for maps, own in zip(used, (offset, mask), strict=True):
        places = own[0].numel()
        own.data.copy_(maps.reshape(2, -1)[:, :places].reshape(own.shape))
    for maps in large:
        maps.requires_grad_()
    output = case.modulated([image, *large, weight, bias])
    expected = case.modulated([image, offset, mask, weight, bias])
    assert torch.equal(output, expected)
    ours = torch.autograd.grad(output.square().sum(), [image, weight, *large])
    theirs = torch.autograd.grad(expected.square().sum(), [image, weight, offset, mask])
    for gradient, other in zip(ours[:2], theirs[:2], strict=True):
        torch.testing.assert_close(gradient, other)
    for gradient, other in zip(ours[2:], theirs[2:], strict=True):
        flat, places = gradient.reshape(2, -1), other[0].numel()
        assert torch.equal(flat[:, :places].reshape(other.shape), other)
        assert not flat[:, places:].any()
    with pytest.raises(ValueError, match="for an output of"):
        case.modulated([image, large[0][:, :, :2], large[1], weight, bias])


def test_the_forms_of_mmcv_are_the_ones_tested() -> None:
    assert mmcv.ops.deform_conv2d == DeformConv2dFunction.apply
    assert mmcv.ops.modulated_deform_conv2d == ModulatedDeformConv2dFunction.apply
