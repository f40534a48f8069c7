"""The track and the ablations, expanded into runs. Imports nothing slow."""

import json
import re
import shlex
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")
sys.path.insert(0, workflow.basedir)

from icd.cost import cases as costs
from icd.errors import InputError
from icd.figures import catalogue, needs
from icd.experiments import rehearsals, walltime
from icd.experiments.kind import kinds
from icd.experiments.requests import annotation_bytes
from icd.experiments.ablation import (
    FOLDER,
    ablation_names,
    load_ablation,
    require_runs,
    with_sources,
)
from icd.report.results import tabulated
from icd.experiments.run import ImportedRun
from icd.experiments.snapshots import snapshot_file
from icd.experiments.splits import MADE as MADE_FOLDER, TEST, TUNE
from icd.experiments.track import load_track
from icd.experiments.zoo import WEIGHTS

if find_spec("snakemake_executor_plugin_slurm"):
    from icd.process import slurm

    slurm.mend()

ANSWERS = {"true": True, "false": False}
TRACK_NAME = str(config.get("track", "mini"))


@contextmanager
def bad_input_ends():
    """Exit with one line of text on an InputError, before anything starts."""
    try:
        yield
    except InputError as error:
        sys.exit(f"error: {error}")


def answer(key):
    """The value of a --config key that is true or false."""
    if (given := str(config.get(key, False)).lower()) not in ANSWERS:
        sys.exit(f"error: --config {key}={given}: expected {MEANINGS[key]}")
    return ANSWERS[given]


MEANINGS = {
    "reuse": "true (take over runs from tables) or false",
    "random": "true (rehearse on random images) or false",
}
RANDOM = answer("random")

with bad_input_ends():
    TRACK = load_track(TRACK_NAME, config)
    if not RANDOM:
        TRACK.require_files()
    ABLATIONS = {name: load_ablation(name, TRACK) for name in ablation_names(TRACK)}
    REHEARSAL = rehearsals.measured(TRACK)

REUSE = answer("reuse")
RUNS = {run.id: run for ablation in ABLATIONS.values() for run in ablation.runs}
DISTILLED = {run.id for run in RUNS.values() if run.distils}
SOURCES = {source.id for run in RUNS.values() for source in run.sources}
IMPORTED = {run.id: run for run in RUNS.values() if isinstance(run, ImportedRun)}
ZOO = {Path(run.checkpoint).name: run for run in IMPORTED.values() if run.zoo}
RESULTS = str(TRACK.results)
SURVEY, SAMPLES = f"{RESULTS}/data.json", f"{RESULTS}/samples.png"
TAKE_OVER = "--reuse" if REUSE else ""
PAGE = f"{RESULTS}/README.md"
COST = str(costs.folder(TRACK))
REHEARSALS = str(rehearsals.folder(TRACK))
KINDS = {kind.id: kind for kind in kinds(RUNS.values())}
GPUS = TRACK.machine.gpus

# Snakemake would silently count such a run as using fewer GPUs than it needs.
if "gpu" in workflow.global_resources and workflow.global_resources["gpu"].value < GPUS:
    sys.exit(
        f"error: {TRACK.file}: machine.gpus: a run needs {GPUS} GPUs, but all runs together may use"
        f" only {workflow.global_resources['gpu'].value}; expected no more, or a larger --resources gpu"
    )


def require_rules_of_profile():
    """Exit if a profile sets options of an unknown rule, which Snakemake would silently ignore."""
    settings, rules = workflow.resource_settings, {rule.name for rule in workflow.rules}
    rules |= {"data", *ablation_names()}  # one profile serves all tracks
    for option in ("resources", "threads"):
        if unknown := sorted({*getattr(settings, f"overwrite_{option}")} - rules):
            sys.exit(
                f"error: set-{option}: no rule is named {', '.join(unknown)};"
                f" expected some of {', '.join(sorted(rules))}"
            )


def require_survey():
    """Exit if data changed after runs were trained on it.

    Snakemake would check the new data, train nothing and report success: if an `ancient` input is
    made again, it does not look for other reasons to rerun what depends on it.
    """
    survey = Path(SURVEY)
    if not (survey.exists() and any((run.folder / "model.pth").exists() for run in RUNS.values())):
        return
    for file in map(TRACK.annotations, TRACK.splits):
        if file.exists() and file.stat().st_mtime > survey.stat().st_mtime:
            sys.exit(
                f"error: {file}: is newer than {survey}, and runs were trained before; expected"
                f" `python -m icd check {shlex.quote(TRACK_NAME)} --data {shlex.quote(str(TRACK.data_root))}`"
                " first, then the same command again"
            )


# Runs that reuse=true takes from tables, by split. They need no training.
SPLITS_MEASURED = {ablation.split for ablation in ABLATIONS.values()} if REUSE else ()
with bad_input_ends():
    KNOWN = {
        split: tabulated(TRACK.results, split, TRACK.splits[split].annotations).keys()
        for split in SPLITS_MEASURED
    }


def to_train(ablation):
    """The runs that an ablation measures, less those that reuse=true takes from tables."""
    with bad_input_ends():
        require_runs(ablation, TRACK)
    return [run for run in ablation.measured if run.id not in KNOWN.get(ablation.split, ())]


def wanted(ablation):
    """The files of an ablation's runs and data.

    They are explicit inputs, because committed tables would otherwise hide that nothing was run.
    """
    if not (ablation.measured and (runs := to_train(ablation))):
        return []
    trained = [file for run in with_sources(runs) for file in run_files(run)]
    evaluated = [
        file
        for run in runs
        for file in (run.metrics(ablation.split), run.detections(ablation.split))
    ]
    return [SURVEY, SAMPLES, *trained, *evaluated]


def asked():
    """The ablations whose tables are targets of this call."""
    targets = {*workflow.dag_settings.targets} or {"all"}
    if "everything" in targets:
        return list(ABLATIONS)
    names = targets | ({"main"} if "all" in targets else set())
    folders = {Path(target).parent for target in targets}
    return [name for name in ABLATIONS if name in names or Path(RESULTS, name) in folders]


def teachers_metrics(wildcards):
    """The metrics of a student's teacher, because a changed test split changes both.

    If an `ancient` input is made again, Snakemake does not look for other reasons to rerun what
    depends on it.
    """
    teacher = RUNS[wildcards.run].sources_by_role.get("teacher")
    return [teacher.metrics()] if teacher else []


def measured_costs(wildcards):
    """The costs of steps, if the ablation shows them; existing measurements stay valid."""
    return [ancient(f"{COST}/cost.csv")] if ABLATIONS[wildcards.ablation].costs else []


def run_files(run):
    """The files that a training writes."""
    names = ["run.json", "model.py", "model.pth", *["method.pth"] * (run.id in DISTILLED)]
    return [*(run.folder / name for name in names), f"{RESULTS}/manifests/{run.id}.json"]


def lost_page():
    """The page of the results, if tables exist but the page does not."""
    tables = list(Path(RESULTS).glob("*/table.md"))
    return [PAGE] if tables and not Path(PAGE).exists() else []


def source_files(wildcards):
    """The weights that a run needs: its teacher's, and those that it starts from."""
    run = RUNS[wildcards.run]
    if run.id in IMPORTED:
        return [run.checkpoint] if run.zoo else [run.config, run.checkpoint]  # mmdet ships configs
    files = [
        f"{source.folder}/{name}" for source in run.sources for name in ("model.py", "model.pth")
    ]
    if teacher := run.sources_by_role.get("teacher"):
        # A teacher is evaluated before it teaches. When it was evaluated does not matter.
        files.append(ancient(teacher.metrics()))
    return files


def training_minutes(wildcards):
    """Walltime in minutes, from the run's rehearsal or assumed. Longer trainings resume on retry."""
    return walltime.training_minutes(RUNS[wildcards.run], TRACK.machine, REHEARSAL)


def training_memory(wildcards):
    """Memory in MB, from the run's rehearsal or as the track states it."""
    run = RUNS[wildcards.run]
    size = annotation_bytes(TRACK, run)
    return walltime.training_memory(run, TRACK.machine, REHEARSAL, size)


def rehearsed(names):
    """The files of the kinds of runs in these tables."""
    runs = {run.id: run for name in names for run in ABLATIONS[name].runs}
    return [str(rehearsals.file_of(TRACK, kind.id)) for kind in kinds(runs.values())]


def train_annotations(wildcards):
    """The annotations that a run is trained on, or that an imported teacher is checked against."""
    return TRACK.annotations(RUNS[wildcards.run].split)


wildcard_constraints:
    run="|".join(map(re.escape, RUNS)),
    kind="|".join(map(re.escape, KINDS)),
    ablation="|".join(map(re.escape, ABLATIONS)),
    weights="|".join(map(re.escape, ZOO)) or "(?!)",
