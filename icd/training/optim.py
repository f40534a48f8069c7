"""One backward pass, two optimisers: the student's recipe and the method's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mmdet.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper
from torch import Tensor, nn

from icd.training.inherit import unwrap


class JointOptimWrapper(OptimWrapperDict):
    """Several optimisers that step after the same backward pass.

    mmengine's :class:`OptimWrapperDict` leaves open how a step is made; here each wrapper clips
    and steps on its own, so the stock ``train_step`` works, data-parallel or not.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context of the first wrapper (precision) holds for the whole model."""
        with next(iter(self.optim_wrappers.values())).optim_context(model):
            yield

    def update_params(
        self, loss: Tensor, step_kwargs: dict | None = None, zero_kwargs: dict | None = None
    ) -> None:
        """Backpropagate once, then clip, step and clear each optimiser."""
        loss.backward()
        for wrapper in self.optim_wrappers.values():
            wrapper.step(**(step_kwargs or {}))
            wrapper.zero_grad(**(zero_kwargs or {}))


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DistillerOptimConstructor:
    """Builds one wrapper for a Distiller's student and one for its method.

    Args:
        optim_wrapper_cfg: ``student`` and ``method``, each the config of an OptimWrapper.
        paramwise_cfg: part of mmengine's interface; state it inside ``student`` or ``method``.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        self.configs = {name: optim_wrapper_cfg[name] for name in ("student", "method")}

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Wrap the parameters of ``model.student`` and of ``model.method``."""
        distiller = unwrap(model)
        wrappers = {
            name: build_optim_wrapper(getattr(distiller, name), config)
            for name, config in self.configs.items()
        }
        return JointOptimWrapper(**wrappers)
