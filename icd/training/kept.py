"""Finished runs that are committed, so that others can learn from exactly their weights.

A teacher, a pre-training or a decoder takes longer than the runs that need it, and trained on
another processor it gets other weights. ``icd keep`` copies such runs to ``results/TRACK/weights``,
and with ``reuse=true`` they are taken from there instead of being trained.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from icd.errors import InputError
from icd.experiments.run import Run
from icd.experiments.sources import short
from icd.files import read_json
from icd.training.finished import FOLDER, MANIFEST, is_finished

WITHOUT = "without reuse=true it is trained here"


def keep(run: Run) -> Path:
    """Copy a finished run to where it can be committed.

    Returns:
        The folder of the copy.

    Raises:
        InputError: the run is not finished.
    """
    if not is_finished(run.folder):
        raise InputError(run.folder, "", "is not finished", f"a run that was trained: {run.id}")
    shutil.copytree(run.folder / FOLDER, run.kept, dirs_exist_ok=True)
    return run.kept


def adopt(run: Run, hashes: Mapping[str, str]) -> None:
    """Let a run count as finished if it was kept and has not been trained here.

    Args:
        run: the run.
        hashes: of its inputs, which must be those of the kept run.

    Raises:
        InputError: it was trained on other data or from other weights, or its files are damaged.
    """
    if is_finished(run.folder) or not run.kept.exists():
        return
    file = run.kept / MANIFEST
    inputs = read_json(file, "the manifest of a kept run")["inputs"]
    for name, digits in hashes.items():
        if (known := inputs.get(name)) != digits:
            problem = f"is {short(known)}, but here it is {short(digits)}"
            raise InputError(file, f"inputs.{name}", problem, f"the same; {WITHOUT}")
    shutil.copytree(run.kept, run.folder / FOLDER, dirs_exist_ok=True)
    if not is_finished(run.folder):
        shutil.rmtree(run.folder / FOLDER)
        problem = "files are missing or differ from their hashes"
        raise InputError(file, "outputs", problem, f"the committed files; {WITHOUT}")
