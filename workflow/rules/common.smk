"""The track and the ablations, expanded into runs. Imports nothing slow."""

import json
import os
import re
import shlex
import sys
import time
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from snakemake.settings.types import DeploymentMethod
from snakemake.utils import min_version

min_version("9.0")
sys.path.insert(0, workflow.basedir)

from icd.cost import cases as costs
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
from icd.data.contents import CHANGED
from icd.experiments.data_versions import (
    is_of,
    is_surveyed,
    measured_on,
    present_versions,
    require_trained_on,
    trained_on,
)
from icd.report.deployment import FOLDER as DEPLOYMENT
from icd.experiments.run import DecoderRun, ImportedRun
from icd.experiments.snapshots import metrics_file, snapshot_file
from icd.experiments.splits import MADE as MADE_FOLDER, TEST
from icd.experiments.track import load_track
from icd.experiments.trackers import chosen, require_installed
from icd.experiments.zoo import WEIGHTS
from icd.files import write_text
from icd.process.boundary import explain
from icd.web import gathered
from icd.web import wanted as wanted_runs

if find_spec("snakemake_executor_plugin_slurm"):
    from icd.process import slurm

    slurm.mend()

ANSWERS = {"true": True, "false": False}
TRACK_NAME = str(config.get("track", "mini"))


@contextmanager
def bad_input_ends():
    """Exit with one line of text if the user can mend an error, before anything starts."""
    try:
        yield
    except Exception as error:
        if known := explain(error):
            sys.exit(f"error: {known}")
        raise


def answer(key):
    """The value of a --config key that is true or false."""
    if (given := str(config.get(key, False)).lower()) not in ANSWERS:
        sys.exit(f"error: --config {key}={given}: expected {MEANINGS[key]}")
    return ANSWERS[given]


MEANINGS = {
    "reuse": "true (take over runs from tables) or false",
    "retrain": "true (replace runs that were trained on other data) or false",
    "random": "true (rehearse on random images) or false",
}
RANDOM = answer("random")

with bad_input_ends():
    TRACK = load_track(TRACK_NAME, config)
    TRACKERS = chosen(config.get("tracking"), TRACK.content.tracking)
    if not RANDOM:
        TRACK.require_files()
    ABLATIONS = {name: load_ablation(name, TRACK) for name in ablation_names(TRACK)}
    REHEARSAL = rehearsals.measured(TRACK)

KEYS = ["track", "tracking", "container", *MEANINGS, *TRACK.root_names]
if unknown := [key for key in config if key not in KEYS]:
    sys.exit(f"error: --config {unknown[0]}: unknown key; expected one of {KEYS}")

# The image of the container that jobs run in, with `software-deployment-method: apptainer`.
IN_CONTAINER = DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method
IMAGE = str(config.get("container", "icd.sif"))

REUSE, RETRAIN = answer("reuse"), answer("retrain")
RUNS = {run.id: run for ablation in ABLATIONS.values() for run in ablation.runs}
DECODERS = {run.id for run in RUNS.values() if isinstance(run, DecoderRun)}
DISTILLED = {run.id for run in RUNS.values() if run.distils}
SOURCES = {source.id for run in RUNS.values() for source in run.sources}
IMPORTED = {run.id: run for run in RUNS.values() if isinstance(run, ImportedRun)}
ZOO = {Path(run.checkpoint).name: run for run in IMPORTED.values() if run.zoo}
RESULTS = str(TRACK.results)
SURVEY, SAMPLES = f"{RESULTS}/data.json", f"{RESULTS}/samples.png"
CHECK_DUE = f".snakemake/check-{TRACK.name}"
TAKE_OVER = "--reuse" if REUSE else ""
TRACKING = f"--tracking {' '.join(TRACKERS)}" if TRACKERS else ""
PAGES = [f"{RESULTS}/README.md", f"{RESULTS}/index.html"]
COST = str(costs.folder(TRACK))
WEB = str(gathered.folder(TRACK))
REHEARSALS = str(rehearsals.folder(TRACK))
KINDS = {kind.id: kind for kind in kinds(RUNS.values())}
GPUS = TRACK.machine.gpus

# The hashes of annotations and images by split. A job of a cluster needs no plan, so it reads no
# files.
with bad_input_ends():
    PRESENT = (
        present_versions(TRACK, Path(".snakemake/annotations.json"))
        if workflow.is_main_process
        else {}
    )

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


def require_data():
    """Exit if runs were trained on other data; check the data again if they may have changed.

    Snakemake does not look at images, and goes by times: to it, annotations that are older than the
    survey have not changed. So the check waits for a file that is written when it is due.
    """
    due = Path(CHECK_DUE)
    with bad_input_ends():
        if not RETRAIN:
            require_trained_on(TRACK, RUNS.values(), PRESENT)
        is_due = Path(SURVEY).exists() and not is_surveyed(Path(SURVEY), TRACK, PRESENT)
        if is_due or not due.exists():
            write_text(due, f"{time.time_ns()}\n")  # Snakemake ignores a file of the same content
        if not is_due:
            os.utime(due, (1, 1))  # older than any survey


def require_image():
    """Exit if the image of the container is neither a file nor to be downloaded."""
    if IN_CONTAINER and "://" not in IMAGE and not Path(IMAGE).exists():
        sys.exit(
            f"error: --config container={IMAGE}: does not exist; expected an image, made by:"
            f" apptainer build {IMAGE} containers/icd.def"
        )


def require_trackers():
    """Exit if a tracker is missing. Jobs with an environment of their own look for themselves."""
    if not workflow.deployment_settings.deployment_method:
        with bad_input_ends():
            require_installed(TRACKERS, TRACK.file)


def followed(wildcards):
    """The options of a command that tell trackers about a run."""
    if not TRACKERS:
        return ""
    tables = [name for name, table in ABLATIONS.items() if wildcards.run in shown(name)]
    return f"{TRACKING} --tables {' '.join(tables)}"


@cache
def shown(name):
    """The ids of the runs of a table."""
    return {run.id for run in ABLATIONS[name].runs}


def is_forced(run, settings):
    """True if the command line forces a training to be repeated."""
    name = "train_source" if run.id in SOURCES else "train"
    name = "train_distilled" if run.id in DISTILLED else name
    name = "train_decoder" if run.id in DECODERS else name
    forced = {*settings.forcerun, *(settings.targets if settings.forcetargets else ())}
    return settings.forceall or not forced.isdisjoint([name, *map(str, run_files(run))])


def require_unforced(run):
    """Exit if a finished training is forced: it would only export its last checkpoint again."""
    forced = workflow.is_main_process and is_forced(run, workflow.dag_settings)
    if run.iterations and forced and complete(run_files(run)):
        sys.exit(
            f"error: {run.folder}: is finished, so --forcerun, --force and --forceall would only"
            " export its last checkpoint again; expected the folders of such runs to be deleted,"
            " which trains them from scratch, or --forcerun evaluate"
        )


def tabulated_runs(split):
    """Runs whose numbers on a split tables show."""
    from icd.report.results import tabulated  # with SciPy, which takes a sixth of a plan's time

    annotations = TRACK.splits[split].annotations
    return tabulated(TRACK.results, split, annotations, PRESENT.get(split)).keys()


# Runs that reuse=true takes from tables, by split. They need no training.
SPLITS_MEASURED = {table.split for table in ABLATIONS.values() if table.measured} if REUSE else ()
with bad_input_ends():
    KNOWN = {split: tabulated_runs(split) for split in SPLITS_MEASURED}


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
    if not ABLATIONS[wildcards.ablation].costs:
        return []
    rendered = table_files(wildcards.ablation)
    return [renewable(f"{COST}/cost.csv", complete(rendered))]


def measured_deployments(wildcards):
    """How large and fast the detector of each row is, if the ablation shows it; one run is enough."""
    ablation = ABLATIONS[wildcards.ablation]
    if not ablation.deployment:
        return []
    here = {run.id for run in to_train(ablation)}
    first = [row.runs[0].id for row in ablation.rows if row.runs and row.runs[0].id in here]
    return [f"{RESULTS}/{DEPLOYMENT}/{run}.json" for run in first]


def table_files(name):
    """The files of an ablation's table and figures."""
    kinds = {"table": ["md", "html", "csv", "tex"]}
    kinds |= dict.fromkeys(["figure", "per_class"], ["svg", "png"])
    kinds |= {"tradeoff": ["svg", "png"]} if ABLATIONS[name].costs else {}
    return [f"{RESULTS}/{name}/{file}.{kind}" for file in kinds for kind in kinds[file]]


def run_files(run):
    """The files that a training writes."""
    return [run.folder / "run.json", *run.outputs, run.manifest]


def lost(page):
    """A page of the results, if tables exist but the page does not."""
    tables = list(Path(RESULTS).glob("*/table.md"))
    return [page] if tables and not Path(page).exists() else []


def gathered_from(part):
    """What a part of the page is gathered from: finished runs, and those that this call makes."""
    if part == gathered.IMAGES:
        return []
    return wanted_runs.files_of(part, TRACK, [*ABLATIONS.values()], asked())


def page_parts(wildcards):
    """The parts of the page for which there are runs. The page has its tables in any case."""
    parts = [part for part in gathered.PARTS if gathered_from(part)]
    shows_images = {gathered.DETECTIONS, gathered.ATTENTION} & {*parts}
    return [f"{WEB}/{part}.json" for part in parts + [gathered.IMAGES] * bool(shows_images)]


def renewable(files, settled):
    """Inputs that a finished, valid result survives if they are made again.

    Only such a result may have `ancient` inputs: if one of them is made again, Snakemake looks for
    no other reason to run the job, not even for missing outputs.
    """
    return ancient(files) if settled else files


def complete(files):
    """True if all of these files exist."""
    return all(map(os.path.exists, files))


# If images have changed in size or time, or were never read here, the check reads them first, and
# ends the pipeline if runs were trained on others. Evaluations on changed images are repeated.
TRUSTED = () if RETRAIN else (None, CHANGED)


@cache
def is_trained(name):
    """True if a run is finished, on the data that lie there now."""
    run = RUNS[name]
    with bad_input_ends():
        is_present = is_of(trained_on(run), PRESENT.get(run.split), TRUSTED)
        return complete(run_files(run)) and is_present


@cache
def is_measured(metrics, split):
    """True if a file of metrics was measured on the data that lie there now."""
    trusted = {*TRUSTED} - {CHANGED}
    with bad_input_ends():
        return is_of(measured_on(Path(metrics)), PRESENT.get(split), trusted)


def train_annotations(wildcards):
    """The annotations that a run is trained on, or that an imported teacher is checked against."""
    annotations = TRACK.annotations(RUNS[wildcards.run].split)
    return renewable(annotations, is_trained(wildcards.run))


def train_survey(wildcards):
    """The survey of the data that a run is trained on."""
    require_unforced(RUNS[wildcards.run])
    return renewable(SURVEY, is_trained(wildcards.run))


def measured_split(wildcards):
    """The split of an evaluation: its wildcard, that of snapshots, or test."""
    if "iteration" in wildcards.keys():
        return TRACK.tuning_split
    return wildcards.get("split", TEST)


def measured_files(wildcards):
    """The files that the evaluation of a run, or of a snapshot of it, writes."""
    run, split = RUNS[wildcards.run], measured_split(wildcards)
    if "iteration" in wildcards.keys():
        return [metrics_file(run, wildcards.iteration)]
    return [run.metrics(split), run.detections(split)]


def test_annotations(wildcards):
    """The annotations that a run is measured on."""
    return test_input(wildcards, TRACK.annotations(measured_split(wildcards)))


def test_survey(wildcards):
    """The survey of the data that a run is measured on."""
    return test_input(wildcards, SURVEY)


def test_input(wildcards, file):
    """An input of an evaluation; renewable if the metrics are complete and of the present data."""
    files = measured_files(wildcards)
    return renewable(file, complete(files) and is_measured(files[0], measured_split(wildcards)))


def source_files(wildcards):
    """The weights that a run needs: its teacher's, and those that it starts from."""
    run = RUNS[wildcards.run]
    if run.id in IMPORTED:
        return [run.checkpoint] if run.zoo else [run.config, run.checkpoint]  # mmdet ships configs
    files = [str(file) for source in run.sources for file in source.outputs]
    if teacher := run.sources_by_role.get("teacher"):
        # A teacher is evaluated before it teaches. When it was evaluated does not matter.
        files.append(renewable(str(teacher.metrics()), complete(run_files(run))))
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


if IN_CONTAINER:

    container: IMAGE


def any_run(names):
    """A pattern of the names of runs, whose hashes tell them apart.

    Snakemake reads it again for every output, and whole names take ten times as long.
    """
    hashes = "|".join(name.rpartition("-")[2] for name in names)
    return f"[^/]+-(?:{hashes})" if names else "(?!)"


wildcard_constraints:
    run=any_run(RUNS),
    kind="|".join(map(re.escape, KINDS)),
    ablation="|".join(map(re.escape, ABLATIONS)),
    weights="|".join(map(re.escape, ZOO)) or "(?!)",
