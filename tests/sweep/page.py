"""The page of the docs that says which of mmdet's detectors work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from icd.experiments.yaml_files import ROOT
from icd.markdown import table
from tests.sweep.families import families

OUTCOME = Path(__file__).with_name("outcome.json")
PAGE = ROOT / "docs/reference/detectors.md"
INTRODUCTION = """# Detectors

Any detector of mmdet that has a feature pyramid can be teacher and student. {working} of {all}
families were taken through these steps and work: train, learn with ICD from a teacher of the same
family, export as a plain mmdet detector, load with mmdet's `init_detector`, and predict. Models
were small (a narrow ResNet-18 where the config has a ResNet), so this says that they run, not how
well they do.

`python -m tests.sweep` takes all of them through all steps and writes this page. Their configs, and
what makes them small, are in `tests/sweep/families.yaml`. `make test` does so for some."""
HEADER = ("family", "mmdet's config", "detector", "pyramid of", "strides", "channels", "state")


def read() -> dict[str, Any]:
    """The stored outcome of each family."""
    found: dict[str, Any] = json.loads(OUTCOME.read_text())
    return found


def page() -> str:
    """The page as Markdown."""
    found, known = read(), families()
    working = sum(not outcome["failed"] for outcome in found.values())
    body = [
        (
            name,
            f"`{known[name].config}`",
            outcome.get("detector") or "-",
            outcome.get("pyramid") or "-",
            " ".join(map(str, outcome.get("strides") or "-")),
            " ".join(map(str, dict.fromkeys(outcome.get("widths") or "-"))),
            f"fails: {outcome['reason']}" if outcome["failed"] else "works",
        )
        for name, outcome in found.items()
    ]
    introduction = INTRODUCTION.format(working=working, all=len(found))
    return f"{introduction}\n\n{table(HEADER, body, text=True)}\n"
