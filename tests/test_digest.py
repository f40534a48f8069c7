"""A change of what runs compute needs a new version, so old results cannot pass for new ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icd.experiments.run import VERSION
from tests.digest import FILE, METHODS, digest
from tests.lab import Lab

REMEDY = (
    "this code computes something else than the recorded one: raise VERSION in "
    "icd/experiments/run.py and run `python -m tests.digest` to record new values"
)
# CPUs round differently; a changed formula, seed or order of random numbers changes more.
TOLERANCE = 1e-4


@pytest.mark.usefixtures("mmdet_on_the_cpu")
@pytest.mark.parametrize("method", METHODS)
def test_runs_compute_what_their_version_says(shared_lab: Lab, tmp_path: Path, method: str) -> None:
    recorded = json.loads(FILE.read_text()).get(str(VERSION), {})
    assert method in recorded, REMEDY
    found, expected = digest(shared_lab.at(tmp_path), method), recorded[method]
    assert found.keys() == expected.keys(), REMEDY
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=TOLERANCE, abs=1e-9), f"{name}: {REMEDY}"
