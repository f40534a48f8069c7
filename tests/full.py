"""Tests with a short version in every run, and a full one that must be asked for: ``-m full``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

FULL = pytest.mark.full


def short(
    values: Iterable[Any], keep: Callable[[Any], bool], name: Callable[[Any], str] = str
) -> list[Any]:
    """Parameters of a test, of which every run takes some.

    Args:
        values: all values of the parameter, or tuples of several parameters.
        keep: whether every run takes a value. The full version takes the others, too.
        name: what a value is called in the name of its test.
    """
    return [
        pytest.param(
            *(value if isinstance(value, tuple) else (value,)),
            id=name(value),
            marks=() if keep(value) else FULL,
        )
        for value in values
    ]
