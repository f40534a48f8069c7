"""The command line, ``python -m icd COMMAND``, for Snakemake and for users."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd.errors import InputError
from icd.experiments.machine import EVALUATORS
from icd.figures.catalogue import (
    FIGURE_OF,
    FIGURES,
    MEASUREMENTS,
    captions,
    drawing,
    measuring,
    require_figure,
)
from icd.files import require_file, sha256
from icd.process.boundary import report, require_run
from icd.process.devices import is_launched, use_gpus, visible_gpus
from icd.process.failures import recorded
from icd.process.lock import locked

if TYPE_CHECKING:
    from icd.experiments.ablation import Ablation
    from icd.experiments.kind import Kind
    from icd.experiments.run import Cost, StepKey, TrainedRun
    from icd.experiments.splits import Split
    from icd.experiments.track import Track

FAILED_KINDS = 3  # exit status of a rehearsal in which some kinds failed

# Commands import what they need themselves, so ``icd show`` does not wait for torch.


def data(args: argparse.Namespace) -> None:
    """Generate the synthetic data of a track."""
    from icd.data.synthetic import SyntheticSpec, write_dataset
    from icd.experiments.track import load_track

    track = load_track(args.track, data_root=args.data)
    if not track.synthetic:
        expected = "a track with synthetic data"
        raise InputError(track.file, "data.synthetic", "is missing", expected)
    sizes = track.synthetic.splits.stated()
    if args.split:
        _require_split(args.split, track)
        sizes = {args.split: sizes[args.split]}
    write_dataset(
        args.data, SyntheticSpec(**track.synthetic.synthetic.stated()), sizes, args.workers
    )


def make_annotations(args: argparse.Namespace) -> None:
    """Make the annotation file of a split: a part of another, or PASCAL VOC's XML converted."""
    from icd.experiments.annotation_files import make

    make(_track(args), args.split)


def check(args: argparse.Namespace) -> None:
    """Check the data of a track: sizes, counts, broken images, a figure of samples."""
    from icd.data.overview import overview
    from icd.data.survey import write_survey
    from icd.experiments.annotation_files import make_or_verify
    from icd.experiments.track import load_track

    track = load_track(args.track, data_root=args.data)
    output = args.output or track.results / "data.json"
    track.require_files()
    make_or_verify(track)
    reading = track.reading(_smallest_side(track))
    survey = write_survey(track.split_files, output, args.decode_all, reading)
    print(overview(survey, reading))
    if _has_own_config(track):
        from icd.training.what_is_used import say_what_is_used

        say_what_is_used(_student(track), reading.smallest_side)
    if any(split["without_mask"] or split["run_lengths"] for split in survey["splits"].values()):
        from icd.training.masks import compare_detectors

        print(compare_detectors(track, survey))
    print(f"written: {output}, {output.with_name('samples.png')}")


def _smallest_side(track: Track) -> int:
    """Shortest side of the images that the track's first detector is trained on."""
    from icd.data.reading import SMALLEST_SIDE

    if not _has_own_config(track):
        return SMALLEST_SIDE  # all configs of mmdet agree, and importing torch takes seconds
    from icd.training.base_config import base_config, min_size

    return min_size(base_config(_student(track)))


def _has_own_config(track: Track) -> bool:
    """True if the config of the track's first detector is a file of the user's."""
    return Path(track.content.detectors[track.detector].config).is_file()


def _student(track: Track) -> TrainedRun:
    """The student of the track's first detector."""
    from icd.experiments.run import TrainedRun

    run = track.describe({"role": "student"}, seed=0)
    assert isinstance(run, TrainedRun), "students are trained"
    return run


def fetch(args: argparse.Namespace) -> None:
    """Download all weights that tables need: backbones, and teachers of mmdet's model zoo."""
    from icd.experiments.ablation import ablation_names, load_ablation
    from icd.files import sha256
    from icd.training.initial import downloads

    track, remedy, missing = _track(args), "internet access, or a copy of the file there", []
    tables = [load_ablation(name, track) for name in args.ablations or ablation_names(track)]
    needed = downloads(run for table in tables for run in table.runs)
    for download in needed:
        try:
            print(f"{download.require(remedy)}: complete, sha256 {sha256(download.file)}")
        except InputError as error:  # the others may be had
            print(f"error: {error}", file=sys.stderr)
            missing.append(download.name)
    if missing:
        problem = f"{len(missing)} of {len(needed)} files are missing: {', '.join(missing)}"
        raise InputError("icd fetch", "", problem, remedy)


def fetch_model(args: argparse.Namespace) -> None:
    """Download the weights of a model of mmdet's model zoo and verify them."""
    from icd.experiments.zoo import model
    from icd.process.fetch import fetch as download

    download(model(args.model).url, args.sha256, args.output)


def train(args: argparse.Namespace) -> None:
    """Train the run described in FOLDER/run.json, with one process per GPU."""
    require_run(args.run)
    if args.gpus > 1 and not is_launched():
        from icd.process.launch import launch

        with locked(args.run), recorded(args.run):  # its processes lock the run again
            use_gpus(args.gpus)
        sys.exit(launch(args.gpus, args.argv))
    with locked(args.run), recorded(args.run):
        use_gpus(args.gpus)
        from icd.process.signals import interruptible
        from icd.training.train import Options
        from icd.training.train import train as train_run

        with interruptible(args.run.name):
            options = Options(
                args.workers,
                args.checkpoint_every,
                args.snapshots,
                args.reuse,
                args.deterministic,
                args.rehearse,
            )
            train_run(args.run, args.data, args.survey, args.manifest, options)


def evaluate(args: argparse.Namespace) -> None:
    """Compute the COCO metrics of a run's detector."""
    require_run(args.run)
    files = _files_of_split(args)
    # Only figures evaluate other weights. Tables do not depend on them, so failures need no record.
    with nullcontext() if args.weights else recorded(args.run, args.split):
        use_gpus(args.gpus)
        from icd.evaluation.evaluate import evaluate as evaluate_run
        from icd.process.signals import interruptible

        with interruptible(args.run.name):
            evaluate_run(
                args.run,
                args.split,
                args.output,
                args.weights,
                args.evaluator,
                files,
                args.workers,
            )


def _files_of_split(args: argparse.Namespace) -> Split | None:
    """The files that the command line names for a split; None for those of the description."""
    from icd.experiments.run import load_run
    from icd.experiments.splits import Split

    if (args.annotations is None) != (args.images is None):
        problem = "needs --annotations and --images together"
        raise InputError("icd evaluate", "", problem, "both or neither")
    if not args.images:
        load_run(args.run).files_of(args.split)  # raises unless it is there
        return None
    for file, origin in ((args.annotations, "a COCO JSON file"), (args.images, "a folder")):
        require_file(Path(file), origin)
    return Split(annotations=args.annotations, images=args.images)


def _require_split(name: str, track: Track) -> None:
    """Raise InputError unless a track has a split."""
    if name not in track.splits:
        raise InputError(track.file, "data.splits", f"has no {name!r}", f"one of {[*track.splits]}")


def collect(args: argparse.Namespace) -> None:
    """Collect the raw numbers of an ablation's runs in two CSV files."""
    from icd.report.results import tabulated, write_results

    ablation = _ablation(args.ablation, args)
    track = _track(args)
    earlier = None
    if args.reuse and ablation.measured:
        file, split = track.annotations(ablation.split), ablation.split
        digits = sha256(file) if file.is_file() else None
        earlier = tabulated(track.results, split, track.splits[split].annotations, digits)
    write_results(ablation, args.folder, earlier)


def render(args: argparse.Namespace) -> None:
    """Render an ablation's tables and figures from its raw numbers."""
    from icd.report.draw_breakdown import write_breakdown
    from icd.report.figure import write_figures
    from icd.report.results import read_results
    from icd.report.tables import write_tables

    ablation, results = _ablation(args.ablation, args), read_results(args.folder)
    write_tables(ablation, results, args.folder, _costs(ablation, args))
    write_figures(ablation, results, [args.folder / f"figure.{kind}" for kind in ("svg", "png")])
    if results.parts:
        outputs = [args.folder / f"per_class.{kind}" for kind in ("svg", "png")]
        write_breakdown(ablation, results, outputs)


def tradeoff(args: argparse.Namespace) -> None:
    """Draw accuracy against the cost of an ablation's methods."""
    from icd.report.results import read_results
    from icd.report.tradeoff import write_tradeoff

    outputs = [args.folder / f"tradeoff.{kind}" for kind in ("svg", "png")]
    ablation, results = _ablation(args.ablation, args), read_results(args.folder)
    write_tradeoff(ablation, results, _costs(ablation, args), outputs)


def tables(args: argparse.Namespace) -> None:
    """Collect and render the tables of ablations with failed runs, from the finished runs."""
    from icd.report.results import FAILED, states

    failed = {name: states(_ablation(name, args))[FAILED] for name in args.ablations}
    for args.ablation in filter(failed.get, failed):
        args.folder = _track(args).results / args.ablation
        collect(args)
        render(args)
        print(
            f"{args.folder}/table.md shows the finished runs; failed runs: {failed[args.ablation]}"
        )
    if any(failed.values()):
        page(args)


def page(args: argparse.Namespace) -> None:
    """Write the page of a track's results from the existing tables and figures."""
    from icd.experiments.ablation import ablation_names
    from icd.report.page import write_page

    track = _track(args)
    ablations = [_ablation(name, args) for name in ablation_names(track)]
    write_page(track, ablations, captions(track, ablations))


def schemas(args: argparse.Namespace) -> None:
    """Write the JSON schemas of tracks, ablations and cost.yaml, for editors and the docs."""
    from icd.experiments.json_schema import FOLDER
    from icd.files import write_json

    for name, schema in SCHEMAS.items():
        write_json(FOLDER / f"{name}.schema.json", schema())


def recipes(args: argparse.Namespace) -> None:
    """Compare a track's recipes with those that were published and those of mmdet's configs."""
    from icd.files import write_text
    from icd.training.recipe_table import page

    text = page(_planned_track(args))
    if args.output:
        write_text(args.output, text)
    else:
        print(text, end="")


def plan(args: argparse.Namespace) -> None:
    """Print the runs to do, their hours and their disk space, without running anything."""
    from icd.experiments.ablation import ablation_names, load_ablation
    from icd.experiments.plan import done, plan_text
    from icd.experiments.rehearsals import measured
    from icd.experiments.requests import requests
    from icd.experiments.track import load_track
    from icd.process.partitions import Job, all_nodes, partition_of_profile, warnings

    track = load_track(args.track, data_root=args.data)
    planned = dict.fromkeys(args.ablations or ablation_names(track))
    others = [name for name in ablation_names(track) if name not in planned]
    tables, more = ([load_ablation(n, track) for n in names] for names in (planned, others))
    print(plan_text(track, tables, more))
    runs = {run.id: run for table in tables for run in table.runs if not done(run)}
    jobs = [
        Job(one.kind, one.minutes, one.memory, one.gpus)
        for one in requests(track, runs.values(), measured(track))
    ]
    for warning in warnings(jobs, all_nodes(), args.partition or partition_of_profile()):
        print(f"Warning: {warning}.")


def rehearse(args: argparse.Namespace) -> None:
    """Do a few iterations of every kind of run in the plan, save, stop, resume and evaluate."""
    from icd.process.signals import interruptible
    from icd.rehearsal.rehearse import Options, adjusted
    from icd.rehearsal.rehearse import rehearse as rehearse_kinds
    from icd.rehearsal.report import write_report

    track = adjusted(_planned_track(args), args.gpus, args.batch)
    chosen = [kind for kind in _kinds(args.ablations, track) if args.kind in (None, kind.id)]
    if not chosen:
        raise InputError("--kind", "", f"{args.kind} is no kind of this plan", "one of its kinds")
    options = Options(args.random, args.again, args.iterations or Options.iterations)
    with interruptible("rehearsal"):
        failed = rehearse_kinds(track, chosen, options)
    if args.kind is None and args.batch is None:  # another batch size is no kind of the plan
        print(write_report(track, chosen, _kinds([], track)))
    if failed:
        sys.exit(FAILED_KINDS)


def rehearsal_table(args: argparse.Namespace) -> None:
    """Write the table of rehearsals."""
    from icd.rehearsal.report import write_report

    track = _planned_track(args)
    print(write_report(track, _kinds(args.ablations, track), _kinds([], track)))


def _planned_track(args: argparse.Namespace) -> Track:
    """The track of a plan, whose data need not exist yet."""
    from icd.experiments.track import load_track

    return load_track(args.track, data_root=args.data)


def _kinds(ablations: Sequence[str], track: Track) -> list[Kind]:
    """The kinds of runs in ablations; in all if none is named."""
    from icd.experiments.ablation import ablation_names, load_ablation
    from icd.experiments.kind import kinds

    names = ablations or ablation_names(track)
    runs = {run.id: run for name in names for run in load_ablation(name, track).runs}
    return kinds(runs.values())


def cost(args: argparse.Namespace) -> None:
    """Measure the cost of a training step with each method, on one GPU or on the CPU."""
    use_gpus(min(len(visible_gpus()), 1) if args.gpus is None else args.gpus)
    from icd.cost.cases import load_plan
    from icd.cost.timing import measure as measure_cost

    measure_cost(load_plan(_track(args)), args.output)


def cost_table(args: argparse.Namespace) -> None:
    """Render the table and the figure of the measured costs."""
    from icd.cost.cases import load_plan
    from icd.cost.report import write

    write(load_plan(_track(args)), args.source, args.outputs)


def show(args: argparse.Namespace) -> None:
    """Print an ablation's table."""
    from icd.experiments.ablation import FOLDER, ablation_names
    from icd.experiments.track import command_of, load_track

    name = load_track(args.track, data_root=Path()).name if Path(args.track).suffix else args.track
    file = Path("results", name, args.ablation, "table.md")
    if not file.is_file():
        if args.ablation not in ablation_names():
            raise InputError(FOLDER, args.ablation, "no such table", f"one of {ablation_names()}")
        expected = f"to run: {command_of(args.ablation, args.track)}"
        raise InputError(file, "", "does not exist", expected)
    print(file.read_text(), end="")


def measure(args: argparse.Namespace) -> None:
    """Collect the raw numbers of a figure in one CSV file."""
    ablation = _ablation(args.ablation, args)
    require_figure(ablation, FIGURE_OF[args.name])
    measuring(args.name)(ablation, _track(args), args.output)


def figure(args: argparse.Namespace) -> None:
    """Draw a figure of the behaviour of an ablation's runs."""
    ablation = _ablation(args.ablation, args)
    require_figure(ablation, args.name)
    for file in args.sources:
        require_file(file, "what icd measure or icd check writes")
    drawing(args.name)(ablation, _track(args), args.sources, args.outputs)


def _track_schema() -> dict[str, Any]:
    from icd.experiments.json_schema import track_schema

    return track_schema()


def _ablation_schema() -> dict[str, Any]:
    from icd.experiments.json_schema import ablation_schema

    return ablation_schema()


def _cost_schema() -> dict[str, Any]:
    from icd.cost.cases import CostContent
    from icd.experiments.json_schema import json_schema

    return json_schema(CostContent, "The measurements of the table of costs")


SCHEMAS = {"track": _track_schema, "ablation": _ablation_schema, "cost": _cost_schema}


def _track(args: argparse.Namespace) -> Track:
    from icd.experiments.track import load_track

    return load_track(args.track, data_root=args.data)


def _costs(ablation: Ablation, args: argparse.Namespace) -> dict[StepKey, Cost]:
    """The costs of steps, if the ablation shows them."""
    from icd.cost.cases import method_costs

    return method_costs(_track(args)) if ablation.costs else {}


def _ablation(name: str, args: argparse.Namespace) -> Ablation:
    from icd.experiments.ablation import load_ablation

    return load_ablation(name, _track(args))


# Name and options of a command's argument, as argparse expects them.
Argument = tuple[str, dict[str, Any]]

TRACK: Argument = ("track", {"help": "name of a track, or path of its YAML file"})
ABLATION: Argument = ("ablation", {"help": "name of an ablation"})
RUN: Argument = ("run", {"type": Path, "metavar": "FOLDER", "help": "folder of a run"})
DATA: Argument = ("--data", {"type": Path, "required": True, "help": "root folder of the data set"})
OUTPUT: Argument = ("--output", {"type": Path, "required": True, "help": "file to write"})
FOLDER: Argument = (
    "--folder",
    {"type": Path, "required": True, "help": "folder of the ablation's results"},
)
GPUS: Argument = ("--gpus", {"type": int, "default": 0, "help": "GPUs to use; 0 means the CPU"})
ABLATIONS: Argument = (
    "ablations",
    {
        "nargs": "*",
        "metavar": "ABLATION",
        "help": "names of ablations; plans, fetch: all by default",
    },
)
REUSE: Argument = (
    "--reuse",
    {"action": "store_true", "help": "use the numbers of runs that tables already show"},
)
OUTPUTS: Argument = (
    "--outputs",
    {"type": Path, "nargs": "+", "required": True, "help": "files to write"},
)
WORKERS: Argument = ("--workers", {"type": int, "default": 0, "help": "data-loading processes"})

# The arguments of commands for which the data need not exist.
PLANNED: list[Argument] = [
    ("--track", {"default": "mini", "help": "name of a track, or path of its YAML file"}),
    ("--data", {"type": Path, "default": Path("."), "help": "root folder of the data set"}),
]


def _from_two(text: str) -> int:
    """A whole number from 2."""
    number = int(text)
    if number < 2:
        raise ValueError
    return number


COMMANDS: dict[Callable[[argparse.Namespace], None], list[Argument]] = {
    data: [TRACK, DATA, WORKERS, ("--split", {"help": "split to generate; default: all"})],
    make_annotations: [TRACK, DATA, ("--split", {"required": True, "help": "split of the data"})],
    check: [
        TRACK,
        ("--data", {"type": Path, "help": "root folder of the data set; default: the track's"}),
        ("--output", {"type": Path, "help": "file to write; default: results/NAME/data.json"}),
        ("--decode-all", {"action": "store_true", "help": "decode all pixels of every image"}),
    ],
    fetch: [
        ABLATIONS,
        ("--track", {"default": "mini", "help": "name of a track, or path of its YAML file"}),
        ("--data", {"type": Path, "default": Path("."), "help": "root folder of the data set"}),
    ],
    fetch_model: [
        ("model", {"help": "name of the model"}),
        ("--sha256", {"required": True, "help": "sha256 of the weights: the first digits, or all"}),
        OUTPUT,
    ],
    train: [
        RUN,
        DATA,
        ("--survey", {"type": Path, "required": True, "help": "JSON file that check wrote"}),
        ("--manifest", {"type": Path, "required": True, "help": "manifest (provenance) to write"}),
        GPUS,
        WORKERS,
        (
            "--checkpoint-every",
            {"type": int, "default": 1000, "help": "iterations between checkpoints"},
        ),
        (
            "--snapshots",
            {"type": int, "default": 0, "help": "number of detectors to save during training"},
        ),
        ("--deterministic", {"action": "store_true", "help": "use deterministic algorithms"}),
        REUSE,
        (
            "--rehearse",
            {"type": Path, "help": "time each iteration, write to this file, stop in the middle"},
        ),
    ],
    evaluate: [
        RUN,
        OUTPUT,
        GPUS,
        WORKERS,
        ("--split", {"default": "test", "help": "split of the run's data set"}),
        ("--annotations", {"help": "COCO JSON file of the split; else as the run describes it"}),
        ("--images", {"help": "image folder of the split; else as the run describes it"}),
        ("--weights", {"type": Path, "help": "weights to evaluate instead, e.g. a snapshot"}),
        (
            "--evaluator",
            {
                "choices": EVALUATORS,
                "default": EVALUATORS[0],
                "help": "library that computes COCO metrics",
            },
        ),
    ],
    collect: [ABLATION, TRACK, DATA, FOLDER, REUSE],
    render: [ABLATION, TRACK, DATA, FOLDER],
    tradeoff: [ABLATION, TRACK, DATA, FOLDER],
    tables: [TRACK, ABLATIONS, DATA, REUSE],
    measure: [
        ("name", {"choices": MEASUREMENTS, "help": ", ".join(MEASUREMENTS)}),
        ABLATION,
        TRACK,
        DATA,
        OUTPUT,
    ],
    figure: [
        ("name", {"choices": FIGURES, "help": ", ".join(FIGURES)}),
        ABLATION,
        TRACK,
        DATA,
        (
            "--sources",
            {"type": Path, "nargs": "*", "default": [], "help": "files from measure and check"},
        ),
        OUTPUTS,
    ],
    page: [TRACK, DATA],
    cost: [
        TRACK,
        DATA,
        OUTPUT,
        (
            "--gpus",
            {"type": int, "choices": (0, 1), "help": "0 means the CPU; default: a GPU if any"},
        ),
    ],
    cost_table: [
        TRACK,
        DATA,
        ("--source", {"type": Path, "required": True, "help": "CSV file that cost wrote"}),
        OUTPUTS,
    ],
    schemas: [],
    recipes: [
        TRACK,
        ("--data", {"type": Path, "default": Path("."), "help": "root folder of the data set"}),
        ("--output", {"type": Path, "help": "file to write; default: print"}),
    ],
    plan: [
        ABLATIONS,
        *PLANNED,
        ("--partition", {"help": "Slurm partition; default: that of profiles/slurm, or any"}),
    ],
    rehearse: [
        ABLATIONS,
        *PLANNED,
        ("--random", {"action": "store_true", "help": "use random images instead of the data"}),
        ("--again", {"action": "store_true", "help": "repeat what this machine has rehearsed"}),
        ("--kind", {"help": "id of a kind; default: all"}),
        ("--gpus", {"type": int, "help": "GPUs of a run; default: the track's"}),
        ("--batch", {"type": int, "help": "images per iteration; default: the track's"}),
        ("--iterations", {"type": _from_two, "help": "iterations of each training"}),
    ],
    rehearsal_table: [ABLATIONS, *PLANNED],
    show: [
        ABLATION,
        ("--track", {"default": "mini", "help": "name of a track, or path of its YAML file"}),
    ],
}


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = argparse.ArgumentParser(prog="icd", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for command, arguments in COMMANDS.items():
        sub = commands.add_parser(
            command.__name__, help=command.__doc__, description=command.__doc__
        )
        for name, options in arguments:
            sub.add_argument(name, **options)
        sub.set_defaults(command=command)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; every error ends in one line, see :mod:`icd.process.boundary`."""
    argv = sys.argv[1:] if argv is None else argv
    args = parser().parse_args(argv, argparse.Namespace(argv=argv))
    try:
        args.command(args)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output (e.g. head) has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return report(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
