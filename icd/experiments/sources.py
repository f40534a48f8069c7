"""Runs that are compared must have come from the same weights, not only from the same names.

A teacher or a pre-training has a name by its description. Trained on another processor, it has the
same name and other weights, from which all students may come out better or worse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from icd.errors import InputError
from icd.experiments.run import Run, read_run
from icd.files import read_json

RunInputs = tuple[Run, Mapping[str, str]]  # a run and the sha256 of the weights it has from others


def known_inputs(manifests: Path, runs: Iterable[str] | None = None) -> dict[str, RunInputs]:
    """By id, runs and the weights they have from others, as far as their provenance is there.

    Args:
        manifests: the folder of a track's manifests.
        runs: ids; else all that have a manifest.
    """
    names = sorted(file.stem for file in manifests.glob("*.json"))
    inputs: dict[str, RunInputs] = {}
    for name in names if runs is None else sorted({*names} & {*runs}):
        file = manifests / f"{name}.json"
        content = read_json(file, "the provenance of a run")
        inputs[name] = (read_run(content["description"], file), content.get("inputs", {}))
    return inputs


def sharing(run: Run, runs: Mapping[str, RunInputs]) -> dict[str, RunInputs]:
    """Those of ``runs`` that state weights of a teacher or pre-training of ``run``.

    Some state none: they were trained before manifests did. Nothing can be told of them here;
    beside others in a table they are refused (:func:`require_same_weights`).
    """
    ours = {source.id for source in run.sources}
    return {
        name: (other, hashes)
        for name, (other, hashes) in runs.items()
        if any(role in hashes and it.id in ours for role, it in other.sources_by_role.items())
    }


def require_same_weights(runs: Mapping[str, RunInputs]) -> None:
    """Raise InputError if runs have come from different weights of one teacher or pre-training."""
    first: dict[str, tuple[str, str | None]] = {}
    for name, (run, hashes) in runs.items():
        for role, source in run.sources_by_role.items():
            weights = hashes.get(role)
            other, expected = first.setdefault(source.id, (name, weights))
            if weights != expected:
                raise InputError(
                    f"results/{run.track}/manifests/{name}.json",
                    f"inputs.{role}",
                    f"is {_short(weights)}, that of {other} {_short(expected)}",
                    f"the same weights of {source.id} for runs that are compared;"
                    " without reuse=true all are trained from those made here",
                )


def _short(weights: str | None) -> str:
    return "not stated" if weights is None else f"{weights[:12]}..."
