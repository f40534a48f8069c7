"""Where runs come from: what the page says of a run when a reader opens one of its numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from icd.experiments.run import read_run
from icd.files import read_json

# Of a manifest, what the page shows as it is. Descriptions of sources are left out: they are runs.
SHOWN = (
    "time",
    "git",
    "python",
    "versions",
    "hardware",
    "seconds",
    "peak_memory_mib",
    "inputs",
    "sessions",
    "arithmetic",
    "diagnosis",
)


@dataclass(frozen=True)
class Provenance:
    """A run with what its manifest says.

    summary: the columns that distinguish runs, e.g. detector, backbone, method.
    sources: ids of the runs whose weights it needed, by role.
    recorded: parts of the manifest; empty without a manifest.
    description: everything that decides its outcome, without that of its sources.
    """

    run: str
    summary: dict[str, Any]
    sources: dict[str, str] = field(default_factory=dict)
    recorded: dict[str, Any] = field(default_factory=dict)
    description: dict[str, Any] = field(default_factory=dict)


def provenances(manifests: Path, runs: Iterable[str]) -> dict[str, Provenance]:
    """The provenance of runs and of those whose weights they needed, by id.

    Args:
        manifests: the folder of a track's manifests; runs without one have no details.
        runs: ids.
    """
    found: dict[str, Provenance] = {}
    waiting = [*runs]
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = provenance(manifests / f"{name}.json")
            waiting += found[name].sources.values()
    return found


def provenance(manifest: Path) -> Provenance:
    """What a manifest says of its run."""
    if not manifest.is_file():
        return Provenance(manifest.stem, {})
    content = read_json(manifest, "the provenance of a run")
    run = read_run(content["description"], manifest)
    sources = {role: source.id for role, source in run.sources_by_role.items()}
    description = {key: content["description"][key] for key in content["description"]}
    for role in sources:
        description.pop(role, None)
    recorded = {key: content[key] for key in SHOWN if key in content}
    return Provenance(manifest.stem, run.summary, sources, recorded, description)
