"""Skips where the extra is missing."""

from __future__ import annotations

import pytest

pytest.importorskip("onnxruntime", reason="needs the extra onnx")
