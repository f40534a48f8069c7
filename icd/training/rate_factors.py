"""Other learning rates for some parameters, chosen by their names."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from mmdet.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn
from torch.nn import Parameter

from icd.training.norm_decay import NORMS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class RateFactorConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor for ``lr_mult`` of ``custom_keys``, and ``norm_decay_mult``.

    It makes one group of all parameters with equal rate and decay. mmengine makes a group of each
    parameter, and PyTorch would then update each in a kernel of its own.
    """

    def add_params(
        self, params: list[dict[str, Any]], module: nn.Module, *_: Any, **__: Any
    ) -> None:
        """Append the groups of a model."""
        norms = {
            parameter
            for part in module.modules()
            if isinstance(part, NORMS)
            for parameter in part.parameters(recurse=False)
        }
        groups: dict[tuple[float, float], list[Parameter]] = defaultdict(list)
        for name, parameter in module.named_parameters():
            decay = self.paramwise_cfg.get("norm_decay_mult", 1) if parameter in norms else 1
            groups[self.factor(name), decay].append(parameter)
        for (rate, decay), members in groups.items():
            group: dict[str, Any] = {"params": members, "lr": self.base_lr * rate}
            if decay != 1:
                group["weight_decay"] = self.base_wd * decay
            params.append(group)

    def factor(self, name: str) -> float:
        """The factor of a parameter's rate: that of the longest word in its name, or 1."""
        words = self.paramwise_cfg["custom_keys"]
        found = [word for word in words if word in name]
        return float(words[max(found, key=len)]["lr_mult"]) if found else 1.0
