"""The files that a training depends on: if one changes, its checkpoints are worthless."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from icd.errors import InputError
from icd.experiments.run import ImportedRun, Run
from icd.experiments.sources import known_inputs, require_same_weights, sharing
from icd.files import sha256, write_json
from icd.process.signals import tell
from icd.training.config import RunInputs


def input_hashes(run: Run, inputs: RunInputs) -> dict[str, str]:
    """The sha256 of the annotations and weights that a run reads.

    A run's id does not cover them: a teacher trained on another CPU has the same id and other
    weights.

    Raises:
        InputError: the survey describes other annotations than those that lie there.
    """
    file = inputs.data / run.files_of(run.split).annotations
    annotations = {"annotations": sha256(file)}
    if annotations["annotations"] != inputs.survey["splits"][run.split]["sha256"]:
        problem = "has changed since the data were checked"
        raise InputError(file, "", problem, "a new survey, which icd check writes")
    if isinstance(run, ImportedRun):
        return annotations | {"checkpoint": sha256(Path(run.checkpoint))}
    sources = run.sources_by_role.items()
    return annotations | {role: sha256(source.folder / "model.pth") for role, source in sources}


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
    """Remove the checkpoints in ``work`` if they come from other annotations or weights.

    A training that restarts because an input has changed must not resume from them.
    """
    record = work / "inputs.json"
    if work.exists() and not (record.exists() and json.loads(record.read_text()) == hashes):
        tell(f"{work}: checkpoints of other annotations or weights are removed")
        shutil.rmtree(work)
    write_json(record, hashes)
