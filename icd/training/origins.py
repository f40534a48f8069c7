"""The files that a training depends on: if one changes, its checkpoints are worthless."""

from __future__ import annotations

import shutil
from pathlib import Path

from icd.data.contents import memory_file
from icd.data.images import require_images
from icd.errors import InputError
from icd.experiments.run import ImportedRun, Run
from icd.experiments.sources import known_inputs, require_same_weights, sharing
from icd.files import read_json, sha256, write_json
from icd.process.signals import tell
from icd.training.config import RunInputs


def input_hashes(run: Run, inputs: RunInputs, runs: Path) -> dict[str, str]:
    """The sha256 of the annotations, images and weights that a run reads.

    A run's id does not cover them: a teacher trained on another CPU has the same id and other
    weights. All images are opened, because one broken image would end the training.

    Args:
        run: the run.
        inputs: its data.
        runs: folder of the runs of its track, which remembers images that were read before.

    Raises:
        InputError: the survey describes other annotations or images than those that lie there, or
            an image cannot be read.
    """
    files, known = run.files_of(run.split), inputs.survey["splits"][run.split]
    annotations, folder = files.annotation_file(inputs.data), inputs.data / files.images
    hashes = {"annotations": sha256(annotations)}
    _require_surveyed(hashes["annotations"], known["sha256"], annotations)
    if isinstance(run, ImportedRun):
        return hashes | {"checkpoint": sha256(Path(run.checkpoint))}
    images = require_images(annotations, folder, memory_file(runs, run.split, folder))
    # Surveys of earlier versions do not know the contents.
    _require_surveyed(images.contents, known.get("contents_sha256", images.contents), folder)
    hashes |= {"images": images.listing, "contents": images.contents}
    sources = run.sources_by_role.items()
    return hashes | {role: sha256(source.weights) for role, source in sources}


def _require_surveyed(present: str, surveyed: str, path: Path) -> None:
    """Raise InputError unless a hash is that of the survey."""
    if present != surveyed:
        problem = "has changed since the data were checked"
        raise InputError(path, "", problem, "a new survey, which icd check writes")


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
