"""Numerical precision of a training: bfloat16 networks, and numbers that underflow.

Backbone, neck, the heads' towers and the distillation method run under autocast and return float32.
So everything that mmdet does with their outputs is computed in float32: assignment and losses, the
decoding of boxes, and RoIAlign, which would otherwise round the corners of its regions to eight
bits. Weights, gradients and optimisers are float32, except the weights of a teacher in bfloat16; no
loss is scaled. Batch and group norm take
bfloat16 and compute in float32, and so does the method in its softmax, norms and losses
(:func:`icd.methods.tokens.full_precision`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import DETRHead
from torch import Tensor, nn

from icd.methods.combination import named_parts
from icd.training.distiller import Distiller, Taught


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Within the block, the CPU counts numbers below 1e-38 as zero.

    As gradients they change no weight, but some CPUs compute several times slower with them.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


BFLOAT16 = "bfloat16"
CONVERTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)  # layers whose weights autocast converts
TAKE_OUTPUTS = ("loss_by_feat", "loss_and_target")  # a head of mmdet has one of these methods


def set_precision(model: nn.Module, precision: str, teacher: str) -> None:
    """Make a model compute in float32 or bfloat16.

    Args:
        model: a detector, or one with a teacher and a method.
        precision: of what is trained.
        teacher: of the teacher.
    """
    if precision == BFLOAT16:
        use_bfloat16(model, teacher == BFLOAT16)
    elif teacher == BFLOAT16 and isinstance(model, Taught):
        freeze_in_bfloat16(model.teacher.detector)


def use_bfloat16(model: nn.Module, teacher: bool = True) -> None:
    """Make a detector, or a model with a teacher and a method, compute in bfloat16.

    The weights stay float32, except those of a teacher, which is included by default.
    """
    detector: Any = model
    if isinstance(model, Taught):
        for method in named_parts(model.method).values():
            autocast(method)
        if teacher:
            freeze_in_bfloat16(model.teacher.detector)
        if not isinstance(model, Distiller):  # there is no student
            return
        detector = model.student
    for network in networks(detector):
        autocast(network)
    for module in detector.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(widen)


def freeze_in_bfloat16(teacher: Any) -> None:
    """Make pyramid and heads of a frozen detector compute in bfloat16, as fast as they can.

    A network that is trained needs weights in float32, which autocast converts in every iteration.
    These are converted once. Norms keep float32 weights.
    """
    for network in networks(teacher):
        for module in network.modules():
            if isinstance(module, CONVERTED):
                for name, weight in [*module.named_parameters(recurse=False)]:
                    setattr(module, name, nn.Parameter(_converted(weight), requires_grad=False))
        autocast(network)


def _converted(weight: Tensor) -> Tensor:
    """A weight in bfloat16, kernels of images in the channels-last format."""
    layout = torch.channels_last if weight.dim() == 4 else torch.preserve_format
    return weight.detach().to(torch.bfloat16, memory_format=layout)


def networks(detector: Any) -> Iterator[nn.Module]:
    """Backbone, neck and heads of a detector of mmdet.

    A DETR stays in float32 behind its neck: its decoder calls parts of its head itself, and its
    boxes are sums of coordinates and what the head returns.
    """
    yield detector.backbone
    if getattr(detector, "neck", None) is not None:
        yield detector.neck
    for module in detector.modules():
        if any(hasattr(module, name) for name in TAKE_OUTPUTS) and not isinstance(module, DETRHead):
            yield module


def autocast(network: nn.Module) -> None:
    """Run ``network`` in bfloat16 whenever it is called, and make its outputs float32."""
    entered: list[torch.autocast] = []

    def enter(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        tensor = next(module.parameters(), None)
        if tensor is None:  # a method without parameters: its first input is a pyramid
            tensor = inputs[0][0]
        device = tensor.device.type
        entered.append(torch.autocast(device, torch.bfloat16))
        entered[-1].__enter__()

    def leave(module: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> Any:
        entered.pop().__exit__(None, None, None)
        return float32(outputs)

    network.register_forward_pre_hook(enter)
    network.register_forward_hook(leave, always_call=True)  # also when the network fails


def float32(outputs: Any) -> Any:
    """Nested tuples, lists and dictionaries with bfloat16 tensors converted to float32."""
    if isinstance(outputs, Tensor):
        return outputs.float() if outputs.dtype == torch.bfloat16 else outputs
    if isinstance(outputs, (tuple, list)):
        return type(outputs)(float32(output) for output in outputs)
    if isinstance(outputs, dict):
        return {name: float32(output) for name, output in outputs.items()}
    return outputs


def widen(conv: nn.Conv2d, inputs: tuple[Tensor]) -> tuple[Tensor] | None:
    """Pad a map of one column with a second, of zeros; the outputs are the same.

    Convolutions of stride 2 compute P7 from P6, which is one cell wide in images of up to 64
    pixels. For such maps the bfloat16 kernel of oneDNN (3.12, ``jit_bf16:avx512_core_bf16``) leaves
    parts of the weights' gradient uninitialised: NaN after a few iterations.
    """
    (x,) = inputs
    padding = conv.padding[1]
    same = not isinstance(padding, str) and conv.kernel_size[1] == 2 * padding + 1
    if x.device.type == "cpu" and x.shape[-1] == 1 and conv.stride[1] > 1 and same:
        return (F.pad(x, (0, 1)),)
    return None
