"""The results of a run, kept where no pipeline deletes them.

Snakemake deletes a job's outputs before it starts and after it fails, even if another pipeline on
the same results has just made them. They are therefore written to ``work/finished`` in the run's
folder, and the outputs are further names (hard links) of these files. A deleted output is restored
from there without training.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from icd.files import atomic, read_json, sha256
from icd.training.export import CONFIG, DETECTOR

FOLDER, MANIFEST = "work/finished", "manifest.json"


def empty_folder(run: Path) -> Path:
    """The folder for the results of a run that has just been carried out."""
    folder = run / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def is_finished(run: Path) -> bool:
    """Whether a run's results are complete and have the hashes of their manifest.

    They are removed with the checkpoints if an input of the run changes, see
    :func:`icd.training.origins.forget_other_inputs`.
    """
    folder = run / FOLDER
    if not (folder / MANIFEST).exists():
        return False
    outputs = read_json(folder / MANIFEST, "the manifest of a run")["outputs"]
    names = [*outputs, *[CONFIG] * (DETECTOR in outputs)]
    return all((folder / name).is_file() for name in names) and all(
        sha256(folder / name) == digits for name, digits in outputs.items()
    )


def publish(run: Path, manifest: Path) -> None:
    """Give a run's results their names in the run's folder; the manifest comes last.

    Their time becomes the present, because Snakemake makes outputs again that are older than an
    input.
    """
    folder = run / FOLDER
    for file in sorted(folder.iterdir(), key=lambda file: file.name == MANIFEST):
        target = manifest if file.name == MANIFEST else run / file.name
        with atomic(target) as temporary:
            link_or_copy(file, temporary)
            os.utime(temporary)


def link_or_copy(file: Path, name: Path) -> None:
    """Let ``name`` be the same file, or a copy where the file system has no hard links."""
    name.unlink(missing_ok=True)
    try:
        os.link(file, name)
    except OSError:
        shutil.copyfile(file, name)
