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


def content_hash(content: Any, length: int = 10) -> str:
    """Short hash of plain data that does not depend on the order of its keys."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:length]
