"""Tests on the CPU that run on a GPU, too, where there is one: parametrise them over DEVICES."""

from __future__ import annotations

import pytest

ON_GPU = [pytest.mark.gpu, pytest.mark.skipif("not __import__('torch').cuda.is_available()")]
DEVICES = ["cpu", pytest.param("cuda", marks=ON_GPU)]
