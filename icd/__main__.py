"""The command line: ``python -m icd COMMAND``. Snakemake calls it, and so can you."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from icd.devices import use_gpus
from icd.errors import InputError
from icd.failures import recorded

if TYPE_CHECKING:
    from icd.suite.ablation import Ablation

# Imports stand inside the commands: ``icd show`` must not wait for torch.


def data(args: argparse.Namespace) -> None:
    """Make the synthetic data of a track."""
    from icd.data.synthetic import SyntheticSpec, write_dataset
    from icd.suite.track import load_track

    content = load_track(args.track).content["data"]
    spec = SyntheticSpec(**content["synthetic"])
    write_dataset(args.data, spec, content["splits"], args.workers)


def check(args: argparse.Namespace) -> None:
    """Check the data of a track and write its classes, counts and priors."""
    from icd.data.survey import write_survey
    from icd.suite.track import load_track

    write_survey(load_track(args.track, data_root=args.data), args.output)


def train(args: argparse.Namespace) -> None:
    """Train the run described in FOLDER/run.json."""
    with recorded(args.run):
        use_gpus(args.gpus)
        from icd.training.train import train as train_run

        train_run(
            args.run, args.data, args.survey, args.manifest, args.workers, args.checkpoint_every
        )


def evaluate(args: argparse.Namespace) -> None:
    """Compute the COCO metrics of a run's detector."""
    with recorded(args.run):
        use_gpus(args.gpus)
        from icd.training.evaluate import evaluate as evaluate_run

        evaluate_run(args.run, args.split, args.output)


def collect(args: argparse.Namespace) -> None:
    """Gather the raw numbers of an ablation's runs in two CSV files."""
    from icd.suite.results import write_results

    write_results(_ablation(args.ablation, args), args.folder)


def render(args: argparse.Namespace) -> None:
    """Render an ablation's tables and figures from its raw numbers."""
    from icd.suite.figures import write_figures
    from icd.suite.results import read_results
    from icd.suite.tables import write_tables

    ablation, results = _ablation(args.ablation, args), read_results(args.folder)
    write_tables(ablation, results, args.folder)
    write_figures(ablation, results, [args.folder / f"figure.{kind}" for kind in ("svg", "png")])


def tables(args: argparse.Namespace) -> None:
    """Collect and render, as far as they got, the ablations in which a run has failed."""
    from icd.suite.ablation import ablation_names
    from icd.suite.results import DONE, FAILED, states
    from icd.suite.track import load_track

    for args.ablation in ablation_names():
        found = states(_ablation(args.ablation, args))
        if found[DONE] and found[FAILED]:
            args.folder = load_track(args.track, data_root=args.data).results / args.ablation
            collect(args)
            render(args)
            print(f"{args.folder}/table.md shows what was run; failed runs: {found[FAILED]}")


def show(args: argparse.Namespace) -> None:
    """Print an ablation's table."""
    file = Path("results", args.track, args.ablation, "table.md")
    if not file.is_file():
        raise InputError(file, "", "does not exist", f"to run: snakemake {args.ablation}")
    print(file.read_text(), end="")


def _ablation(name: str, args: argparse.Namespace) -> Ablation:
    from icd.suite.ablation import load_ablation
    from icd.suite.track import load_track

    return load_ablation(name, load_track(args.track, data_root=args.data))


TRACK = ("track", {"help": "name of a track, or path of its YAML file"})
ABLATION = ("ablation", {"help": "name of an ablation"})
RUN = ("run", {"type": Path, "metavar": "FOLDER", "help": "folder of a run"})
DATA = ("--data", {"type": Path, "required": True, "help": "root folder of the data set"})
OUTPUT = ("--output", {"type": Path, "required": True, "help": "file to write"})
FOLDER = ("--folder", {"type": Path, "required": True, "help": "of the ablation's results"})
GPUS = ("--gpus", {"type": int, "default": 0, "help": "GPUs to use; 0 means the CPU"})
WORKERS = ("--workers", {"type": int, "default": 0, "help": "data-loading processes"})

COMMANDS = {
    data: [TRACK, DATA, WORKERS],
    check: [TRACK, DATA, OUTPUT],
    train: [
        RUN,
        DATA,
        ("--survey", {"type": Path, "required": True, "help": "what check wrote"}),
        ("--manifest", {"type": Path, "required": True, "help": "provenance to write"}),
        GPUS,
        WORKERS,
        ("--checkpoint-every", {"type": int, "default": 1000, "help": "in iterations"}),
    ],
    evaluate: [
        RUN,
        OUTPUT,
        GPUS,
        ("--split", {"default": "test", "help": "of the run's data set"}),
    ],
    collect: [ABLATION, TRACK, DATA, FOLDER],
    render: [ABLATION, TRACK, DATA, FOLDER],
    tables: [TRACK, DATA],
    show: [ABLATION, ("--track", {"default": "mini", "help": "name of a track"})],
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
    """Run one command; bad input ends with one clear line and exit status 2."""
    args = parser().parse_args(argv)
    try:
        args.command(args)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
