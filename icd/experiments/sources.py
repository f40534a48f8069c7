"""Runs that are compared must start from the same weights, not only from the same description.

A teacher or a pre-training is named by its description. Trained on another processor, it has the
same name but other weights, which may make all its students better or worse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from icd.errors import InputError
from icd.experiments.run import Run, read_run
from icd.files import read_json

# Keys of the hashes of a run's data, and what they are of. `images` is of names and sizes.
DATA = {"annotations": "annotations", "images": "images", "contents": "contents of images"}
RunInputs = tuple[Run, Mapping[str, str]]  # a run, and the sha256 of its input weights by role


def known_inputs(manifests: Path, runs: Iterable[str] | None = None) -> dict[str, RunInputs]:
    """Runs and their input weights by run id, for all runs that have a manifest.

    Args:
        manifests: the folder of a track's manifests.
        runs: ids of the runs to read; None reads all.
    """
    names = sorted(file.stem for file in manifests.glob("*.json"))
    inputs: dict[str, RunInputs] = {}
    for name in names if runs is None else sorted({*names} & {*runs}):
        file = manifests / f"{name}.json"
        content = read_json(file, "the provenance of a run")
        inputs[name] = (read_run(content["description"], file), content.get("inputs", {}))
    return inputs


def sharing(run: Run, runs: Mapping[str, RunInputs]) -> dict[str, RunInputs]:
    """The runs whose manifests state the weights of a teacher or pre-training of ``run``.

    Older manifests state no input weights. Such runs are left out here, and
    :func:`require_same_weights` refuses them beside others in a table.
    """
    needed = {source.id for source in run.sources}
    return {
        name: (other, hashes)
        for name, (other, hashes) in runs.items()
        if any(
            role in hashes and source.id in needed for role, source in other.sources_by_role.items()
        )
    }


def require_same_weights(runs: Mapping[str, RunInputs]) -> None:
    """Raise InputError if runs used different weights of the same teacher or pre-training."""
    first: dict[str, tuple[str, str | None]] = {}
    for name, (run, hashes) in runs.items():
        for role, source in run.sources_by_role.items():
            weights = hashes.get(role)
            other, expected = first.setdefault(source.id, (name, weights))
            if weights != expected:
                raise InputError(
                    f"results/{run.track}/manifests/{name}.json",
                    f"inputs.{role}",
                    f"is {short(weights)}, but {other} has {short(expected)}",
                    f"the same weights of {source.id} for runs that are compared;"
                    " without reuse=true all runs are trained from the weights made here",
                )


def require_same_data(runs: Mapping[str, RunInputs]) -> None:
    """Raise InputError if runs were trained on different versions of the same split.

    Older manifests state no hash, so nothing is known about their runs.
    """
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for name, (run, hashes) in runs.items():
        for what in (key for key in DATA if key in hashes):
            digits = hashes[what]
            other, expected = first.setdefault((run.split, what), (name, digits))
            if digits != expected:
                raise InputError(
                    f"results/{run.track}/manifests/{name}.json",
                    f"inputs.{what}",
                    f"is {short(digits)}, but {other} has {short(expected)}",
                    f"the same {DATA[what]} of the split {run.split} for runs that are compared:"
                    " delete the folders of the others, and the same command trains them again",
                )


def short(digits: str | None) -> str:
    """The first digits of a hash, for messages."""
    return "not stated" if digits is None else f"{digits[:12]}..."
