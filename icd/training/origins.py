"""The files that a training depends on: if one changes, its checkpoints are worthless."""

from __future__ import annotations

import shutil
from pathlib import Path

from icd.data.listing import images_sha256
from icd.errors import InputError
from icd.experiments.run import ImportedRun, Run
from icd.experiments.sources import known_inputs, require_same_weights, sharing
from icd.files import read_json, sha256, write_json
from icd.process.signals import tell
from icd.training.config import RunInputs


def input_hashes(run: Run, inputs: RunInputs) -> dict[str, str]:
    """The sha256 of the annotations and weights that a run reads, and of the list of its images.

    A run's id does not cover them: a teacher trained on another CPU has the same id and other
    weights.

    Raises:
        InputError: the survey describes other annotations than those that lie there.
    """
    files = run.files_of(run.split)
    annotations = files.annotation_file(inputs.data)
    hashes = {"annotations": sha256(annotations)}
    if hashes["annotations"] != inputs.survey["splits"][run.split]["sha256"]:
        problem = "has changed since the data were checked"
        raise InputError(annotations, "", problem, "a new survey, which icd check writes")
    if isinstance(run, ImportedRun):
        return hashes | {"checkpoint": sha256(Path(run.checkpoint))}
    hashes["images"] = images_sha256(annotations, inputs.data / files.images)
    sources = run.sources_by_role.items()
    return hashes | {role: sha256(source.weights) for role, source in sources}


def require_same_origins(run: Run, hashes: dict[str, str], manifests: Path) -> None:
    """Raise InputError if runs whose results are reused had a teacher with other weights.

    Args:
        run: the run that is compared with them.
        hashes: of its inputs.
        manifests: folder of the manifests.
    """
    known = sharing(run, known_inputs(manifests))
    require_same_weights({**known, run.id: (run, hashes)})


def forget_other_inputs(work: Path, hashes: dict[str, str]) -> None:
    """Remove the checkpoints in ``work`` if they come from other data or weights.

    A training that restarts because an input has changed must not resume from them.
    """
    record = work / "inputs.json"
    if work.exists() and not (record.exists() and _agree(record, hashes)):
        tell(f"{work}: checkpoints of other data or weights are removed")
        shutil.rmtree(work)
    write_json(record, hashes)


def _agree(record: Path, hashes: dict[str, str]) -> bool:
    """True if all hashes in a record are those of now; an older record may have fewer."""
    known = read_json(record, "the inputs of a training")
    return all(hashes.get(name) == digits for name, digits in known.items())
