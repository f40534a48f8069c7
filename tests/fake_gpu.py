"""A GPU that needs none: fake tensors on it have shapes, but no values, memory or kernels.

PyTorch raises an error where a tensor on the CPU meets one on the fake GPU, and where a value must
be known (``item``, ``nonzero``, a mask as an index), for which a GPU would be waited for. What else
waits is recorded by :class:`Device`: copies that block.

Gradients cannot be computed of tensors on the fake GPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READS = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal", "_unique2")
# Operators that only allocate, or tell or change how a tensor is seen.
NO_KERNEL = {
    "_reshape_alias",
    "_unsafe_view",
    "alias",
    "detach",
    "device",
    "empty",
    "empty_like",
    "expand",
    "lift_fresh",
    "new_empty",
    "new_empty_strided",
    "permute",
    "promote_types",
    "select",
    "slice",
    "split",
    "split_with_sizes",
    "squeeze",
    "t",
    "transpose",
    "unbind",
    "unsqueeze",
    "view",
}


class Device(TorchDispatchMode):
    """Records what a device is asked to do.

    launches: operators that launch a kernel or a copy, by name. Each is counted once.
    waits: operators for which Python waits until the device has done all that it was asked to.

    Args:
        type: type of the device, ``cuda`` or, to compute gradients, ``cpu`` or ``meta``.
    """

    def __init__(self, type: str = "cuda") -> None:
        super().__init__()
        self.type = type
        self.launches: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name, given = func.overloadpacket.__name__, tensors((args, kwargs))
        result = func(*args, **kwargs)
        devices = {x.device.type for x in (*given, *tensors(result))}
        if self.type in devices:
            if name not in NO_KERNEL:
                self.launches[name] += 1
            if name in READS or (self.type == "cuda" and blocks(name, devices, args, kwargs)):
                self.waits[name] += 1
        return result


def tensors(tree: Any) -> list[Tensor]:
    """The tensors in nested arguments."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def blocks(name: str, devices: set[str], args: tuple, kwargs: dict) -> bool:
    """Whether a copy between devices lets Python wait."""
    if len(devices) == 1:
        return False
    if name in ("index", "index_put", "index_put_"):  # an index on the CPU is copied first
        return True
    copies = name in ("_to_copy", "copy_", "lift_fresh")
    return copies and not (kwargs.get("non_blocking") or (name == "copy_" and True in args[2:]))


@contextmanager
def fake_gpu() -> Iterator[FakeTensorMode]:
    """Within the block, new tensors are fake, and ``cuda`` exists, with autocast to bfloat16."""
    with ExitStack() as stack:
        for name, value in (
            ("torch.cuda.amp.common.amp_definitely_not_available", False),
            ("torch.cuda.is_bf16_supported", True),
        ):
            stack.enter_context(mock.patch(name, return_value=value))
        generator = torch.Generator()  # one on the GPU needs a driver
        stack.enter_context(mock.patch("torch.Generator", return_value=generator))
        yield stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))


def move(module: nn.Module, device: str = "cuda") -> None:
    """``module.to(device)`` for a fake GPU; call it within :func:`fake_gpu`."""
    module._apply(lambda x: torch.empty_like(x, device=device))
