"""Clipping gradients without waiting for their norm."""

from __future__ import annotations

from mmdet.registry import OPTIM_WRAPPERS
from mmengine.optim import OptimWrapper
from torch import Tensor
from torch.nn import Parameter
from torch.nn.utils import clip_grad_value_, clip_grads_with_norm_, get_total_norm


@OPTIM_WRAPPERS.register_module()
class ClippingOptimWrapper(OptimWrapper):
    """mmengine's OptimWrapper, which would read the norm in each iteration to log it.

    ``clip_grad`` states ``clip_value``, the largest magnitude of each element, ``max_norm``, the
    largest norm of all gradients together, or both. Elements are clipped first.

    ``gradient_norm`` is the norm before any clipping of the last step, on the device; None if
    nothing clips.
    """

    gradient_norm: Tensor | None = None

    def _clip_grad(self) -> None:
        """Clip; mmengine calls this before a step if the config states ``clip_grad``."""
        groups = self.optimizer.param_groups
        parameters = [p for group in groups for p in group["params"] if p.grad is not None]
        if not parameters:
            return
        norm = self.gradient_norm = norm_of(parameters)
        if value := self.clip_grad_kwargs.get("clip_value"):
            clip_grad_value_(parameters, value)
            norm = norm_of(parameters)
        if limit := self.clip_grad_kwargs.get("max_norm"):
            clip_grads_with_norm_(parameters, limit, norm)


def norm_of(parameters: list[Parameter]) -> Tensor:
    """The norm of the gradients of all parameters together."""
    return get_total_norm([own.grad for own in parameters if own.grad is not None])
