"""The class of a distillation method, and the arguments that its constructor accepts."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any

from torch import nn

from icd.errors import InputError


def method_class(path: str) -> type[nn.Module]:
    """The class at ``module.Class``.

    Raises:
        InputError: there is no such module or class, or it is not a ``torch.nn.Module``.
    """
    module, _, name = path.rpartition(".")
    try:
        method = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            "methods", path, f"cannot be imported ({error})", "module.Class"
        ) from error
    if not (isinstance(method, type) and issubclass(method, nn.Module)):
        raise InputError("methods", path, "is not a torch.nn.Module", "a subclass of it")
    return method


def accepted_arguments(method: type[nn.Module], offered: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the offered arguments that a method's constructor accepts."""
    accepted = signature(method).parameters
    return {key: value for key, value in offered.items() if key in accepted}
