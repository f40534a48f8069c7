"""Nested mappings: one laid over another, and the hash of plain data."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def merge(base: Any, change: Any) -> Any:
    """``change`` laid over ``base``: mappings key by key, anything else replaced."""
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    return base | {key: merge(base.get(key), value) for key, value in change.items()}


def conflicts(first: Any, second: Any, key: str = "") -> dict[str, tuple[Any, Any]]:
    """Both values by dotted key, where two nested mappings state different ones."""
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return {} if first == second else {key: (first, second)}
    found: dict[str, tuple[Any, Any]] = {}
    for name in first.keys() & second.keys():
        found |= conflicts(first[name], second[name], f"{key}.{name}" if key else str(name))
    return found


def content_hash(content: Any, length: int = 10) -> str:
    """Short hash of plain data that does not depend on the order of its keys."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:length]


def differences(old: Any, new: Any, key: str = "") -> dict[str, tuple[Any, Any]]:
    """Old and new value by dotted key, where two nested mappings differ; None where one has none.

    Lists are compared item by item if they are of the same length.
    """
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        old, new = (dict(enumerate(value)) for value in (old, new))
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return {} if old == new else {key: (old, new)}
    found: dict[str, tuple[Any, Any]] = {}
    for name in dict.fromkeys([*old, *new]):
        place = f"{key}.{name}" if key else str(name)
        found |= differences(old.get(name), new.get(name), place)
    return found
