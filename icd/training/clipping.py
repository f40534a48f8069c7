"""Clipping gradients without waiting for their norm."""

from __future__ import annotations

from mmdet.registry import OPTIM_WRAPPERS
from mmengine.optim import OptimWrapper
from torch import Tensor


@OPTIM_WRAPPERS.register_module()
class ClippingOptimWrapper(OptimWrapper):
    """mmengine's OptimWrapper, which would read the norm in each iteration to log it.

    ``gradient_norm`` is the norm before the last clipping, on the device; None if nothing clips.
    """

    gradient_norm: Tensor | None = None

    def _clip_grad(self) -> None:
        """Clip; mmengine calls this before a step if the config states ``clip_grad``."""
        groups = self.optimizer.param_groups
        parameters = [p for group in groups for p in group["params"] if p.grad is not None]
        if parameters:
            self.gradient_norm = self.clip_func(parameters, **self.clip_grad_kwargs)
