"""One backward pass, several optimisers: the student's recipe and those of the methods."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmdet.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper
from torch import Tensor, nn

from icd.errors import InputError
from icd.experiments.options import OPTIMIZER
from icd.methods.combination import named_parts
from icd.training.distiller import unwrap


class JointOptimWrapper(OptimWrapperDict):
    """Several optimisers that step after the same backward pass.

    mmengine's :class:`OptimWrapperDict` does not define a step. Here each wrapper clips and steps
    on its own, so the stock ``train_step`` works, data-parallel or not.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enter the context (precision) of the first wrapper for the whole model."""
        with next(iter(self.optim_wrappers.values())).optim_context(model):
            yield

    def update_params(
        self,
        loss: Tensor,
        step_kwargs: dict[str, Any] | None = None,
        zero_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Backpropagate once, then clip, step and clear each optimiser."""
        loss.backward()
        for wrapper in self.optim_wrappers.values():
            wrapper.step(**(step_kwargs or {}))
            wrapper.zero_grad(**(zero_kwargs or {}))


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DistillerOptimConstructor:
    """Builds an optimiser wrapper for a Distiller's student and one for its method.

    Args:
        optim_wrapper_cfg: ``student`` and, for a method with parameters, ``method``, each the
            config of an OptimWrapper. Of several methods, each has its own, for example
            ``method.icd``, or its name is in the list ``joining`` of those that follow the
            student's.
        paramwise_cfg: part of mmengine's interface; state it inside ``student`` or ``method``.
    """

    def __init__(
        self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None
    ) -> None:
        self.configs = optim_wrapper_cfg
        self.joining = [f"method.{name}" for name in optim_wrapper_cfg.get("joining", ())]

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Wrap the parameters of ``model.student`` and of each method that has any.

        Raises:
            InputError: a method has parameters, but no optimiser.
        """
        distiller = unwrap(model)
        learning = {
            name: method
            for name, method in named_parts(distiller.method).items()
            if any(parameter.requires_grad for parameter in method.parameters())
        }
        joined = [distiller.student, *(learning.pop(name) for name in self.joining)]
        student = nn.ModuleList(joined) if len(joined) > 1 else distiller.student
        wrappers = {"student": build_optim_wrapper(student, self.configs["student"])}
        for name, method in learning.items():
            if name not in self.configs:
                problem = f"is missing, but {type(method).__name__} has parameters of its own"
                raise InputError("methods", "optimizer", problem, OPTIMIZER)
            wrappers[name] = build_optim_wrapper(method, self.configs[name])
        return JointOptimWrapper(**wrappers)
