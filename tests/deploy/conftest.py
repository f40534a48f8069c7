"""Skips where the extra is missing; the detectors of mini on the images of the lab."""

from __future__ import annotations

from dataclasses import replace

import pytest

from icd.experiments.track import load_track
from tests.lab import Lab

for name in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(name, reason="needs the extra onnx")


@pytest.fixture(scope="session")
def lab_of_mini(shared_lab: Lab) -> Lab:
    """The detectors of mini, and the data of the lab."""
    return replace(shared_lab, track=load_track("mini", data_root=shared_lab.data))
