"""What to do: the track and the ablations, expanded to runs. Nothing heavy is imported here."""

import json
import re
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")
sys.path.insert(0, workflow.basedir)

from icd.errors import InputError
from icd.pictures import needs
from icd.pictures.kinds import DRAWINGS, NUMBERS
from icd.suite.ablation import FOLDER, ablation_names, load_ablation
from icd.suite.snapshots import snapshot_file
from icd.suite.track import TEST, TRAIN, load_track
from icd.suite.zoo import WEIGHTS

TRACK_NAME = str(config.get("track", "mini"))
try:
    TRACK = load_track(TRACK_NAME, config)
    TRACK.require_files()
    ABLATIONS = {name: load_ablation(name, TRACK) for name in ablation_names()}
except InputError as error:
    sys.exit(f"error: {error}")

RUNS = {run.id: run for ablation in ABLATIONS.values() for run in ablation.runs}
DISTILLED = {run.id for run in RUNS.values() if run.description.get("method")}
TEACHERS = {run.teacher.id for run in RUNS.values() if run.teacher}
ZOO = {Path(run.description["checkpoint"]).name: run for run in RUNS.values() if run.zoo}
RESULTS = str(TRACK.results)
SURVEY = f"{RESULTS}/data.json"


def run_files(run):
    """All that is kept of a run."""
    folder = str(run.folder)
    names = ["run.json", "model.py", "model.pth", "metrics.json"]
    return [*(f"{folder}/{name}" for name in names), f"{RESULTS}/manifests/{run.id}.json"]


def teacher_files(wildcards):
    """What a run needs of the teacher it learns from, if there is one."""
    run = RUNS[wildcards.run]
    if run.imported:
        keys = ["checkpoint"] if run.zoo else ["config", "checkpoint"]  # mmdet has the config
        return [run.description[key] for key in keys]
    if run.teacher is None:
        return []
    model = [f"{run.teacher.folder}/{name}" for name in ("model.py", "model.pth")]
    # A teacher is evaluated before anything is distilled from it; that it was is all that counts.
    return [*model, ancient(f"{run.teacher.folder}/metrics.json")]


wildcard_constraints:
    run="|".join(map(re.escape, RUNS)),
    ablation="|".join(map(re.escape, ABLATIONS)),
    weights="|".join(map(re.escape, ZOO)) or "(?!)",
