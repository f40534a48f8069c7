"""Another weight decay for norm layers than for other weights."""

from __future__ import annotations

from typing import Any

from mmdet.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)  # batch and instance norm have a common base


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class NormDecayConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor for ``norm_decay_mult`` alone, with two groups of parameters.

    mmengine makes a group of each parameter. PyTorch would then update each in a kernel of its own.
    """

    def add_params(
        self, params: list[dict[str, Any]], module: nn.Module, *_: Any, **__: Any
    ) -> None:
        """Append the groups of a model: weights and biases of norms, and all others."""
        norms = [
            parameter
            for part in module.modules()
            if isinstance(part, NORMS)
            for parameter in part.parameters(recurse=False)
        ]
        known = {*norms}
        params.append({"params": [one for one in module.parameters() if one not in known]})
        if norms:
            decay = self.base_wd * self.paramwise_cfg["norm_decay_mult"]
            params.append({"params": norms, "weight_decay": decay})
