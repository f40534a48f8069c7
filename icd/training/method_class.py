"""The class of a distillation method, and what it asks to be told."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any

from torch import nn

from icd.errors import InputError


def method_class(path: str) -> type[nn.Module]:
    """The class module.Class.

    Raises:
        InputError: there is no such module or class, or it is no ``torch.nn.Module``.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            "methods", path, f"cannot be imported ({error})", "module.Class"
        ) from error
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise InputError("methods", path, "is no torch.nn.Module", "a class of such")
    return found


def asked(method: type[nn.Module], offered: Mapping[str, Any]) -> dict[str, Any]:
    """Of what is offered, the arguments that a method's constructor has."""
    return {key: value for key, value in offered.items() if key in signature(method).parameters}
