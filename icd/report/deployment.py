"""How large and how fast the detectors of a track are, from what `icd deployment` wrote."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from icd.files import read_json

FOLDER = "deployment"  # in the folder of a track's results: a file for each measured run


@dataclass(frozen=True)
class Deployment:
    """Of a detector.

    parameters: number of its weights.
    flops: operations for an image, as mmengine counts them.
    milliseconds, megabytes: of its ONNX model; None if it cannot be exported.
    """

    parameters: int
    flops: int
    milliseconds: float | None
    megabytes: float | None


def read_deployments(folder: Path) -> dict[str, Deployment]:
    """What was measured, by the id of the run."""
    names = [field.name for field in fields(Deployment)]
    found = {}
    for file in sorted(folder.glob("*.json")):
        content = read_json(file, "what icd deployment writes")
        found[file.stem] = Deployment(**{name: content[name] for name in names})
    return found
