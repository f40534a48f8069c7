"""A training starts without what it does not use, and whoever uses it gets it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from icd.training import RARELY_USED
from tests.test_imports import ROOT

# They come with those that are deferred, or are of other parts of the project.
BROUGHT_ALONG = ("imageio", "llvmlite", "numba", "pandas", "snakemake")

USE = """
import json, sys
import icd.training.train, icd.evaluation.evaluate

loaded = [*sys.modules]

# Now somebody uses it.
from mmdet.datasets.transforms.generate_line import ImageAug
resize = {"name": "Resize", "p": 1, "parameters": {"size": {"width": 8, "height": 4}}}
print(json.dumps([loaded, type(ImageAug([resize]).pipeline).__module__]))
"""


@pytest.fixture(scope="module")
def process() -> tuple[list[str], str]:
    """The modules that are loaded at first, and where a class comes from that needs another."""
    command = [sys.executable, "-c", USE]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded, found = json.loads(result.stdout.splitlines()[-1])
    return loaded, found


def test_a_training_does_not_import_what_it_does_not_use(process: Any) -> None:
    loaded, _ = process
    assert "mmdet.models" in loaded
    rare = (*RARELY_USED, *BROUGHT_ALONG)
    assert [
        one for one in loaded if one in rare or one.startswith(tuple(f"{r}." for r in rare))
    ] == []


def test_who_uses_it_gets_it(process: Any) -> None:
    _, found = process
    assert found == "imgaug.augmenters.meta"
