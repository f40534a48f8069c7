"""Commands that turn the numbers of runs into tables and pages."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from icd.commands.arguments import (
    ABLATION,
    ABLATIONS,
    DATA,
    FOLDER,
    MINI_TRACK,
    REUSE,
    TRACK,
    TRACKING,
    Commands,
    ablation_of,
    track_figures,
    track_of,
)
from icd.errors import InputError
from icd.figures.catalogue import captions
from icd.web.gathered import PARTS

if TYPE_CHECKING:
    from icd.experiments.ablation import Ablation
    from icd.experiments.run import Cost, StepKey


def collect(args: argparse.Namespace) -> None:
    """Collect the raw numbers of an ablation's runs in two CSV files."""
    from icd.experiments.data_versions import present_versions
    from icd.report.results import tabulated, write_results

    ablation = ablation_of(args)
    track = track_of(args)
    earlier = None
    if args.reuse and ablation.measured:
        split, file = ablation.split, track.splits[ablation.split].annotations
        earlier = tabulated(track.results, split, file, present_versions(track).get(split))
    write_results(ablation, args.folder, earlier)


def render(args: argparse.Namespace) -> None:
    """Render an ablation's tables and figures from its raw numbers."""
    from icd.report.draw_breakdown import write_breakdown
    from icd.report.figure import write_figures
    from icd.report.results import read_results
    from icd.report.tables import write_tables

    ablation, results = ablation_of(args), read_results(args.folder)
    write_tables(ablation, results, args.folder, _costs(ablation, args))
    drawn = [args.folder / f"figure.{kind}" for kind in ("svg", "png")]
    write_figures(ablation, results, drawn)
    if results.parts:
        outputs = [args.folder / f"per_class.{kind}" for kind in ("svg", "png")]
        write_breakdown(ablation, results, outputs)
        drawn += outputs
    track_figures(args, ablation, drawn)


def tradeoff(args: argparse.Namespace) -> None:
    """Draw accuracy against the cost of an ablation's methods."""
    from icd.report.results import read_results
    from icd.report.tradeoff import write_tradeoff

    outputs = [args.folder / f"tradeoff.{kind}" for kind in ("svg", "png")]
    ablation, results = ablation_of(args), read_results(args.folder)
    write_tradeoff(ablation, results, _costs(ablation, args), outputs)
    track_figures(args, ablation, outputs)


def _costs(ablation: Ablation, args: argparse.Namespace) -> dict[StepKey, Cost]:
    """The costs of steps, if the ablation shows them."""
    from icd.cost.cases import method_costs

    return method_costs(track_of(args)) if ablation.costs else {}


def tables(args: argparse.Namespace) -> None:
    """Collect and render the tables of ablations with failed runs, from the finished runs."""
    from icd.report.results import FAILED, states

    failed = {name: states(ablation_of(args, name))[FAILED] for name in args.ablations}
    for args.ablation in filter(failed.get, failed):
        args.folder = track_of(args).results / args.ablation
        collect(args)
        render(args)
        print(
            f"{args.folder}/table.md shows the finished runs; failed runs: {failed[args.ablation]}"
        )
    if any(failed.values()):
        page(args)


def page(args: argparse.Namespace) -> None:
    """Write the pages of a track's results, README.md and index.html, from what exists."""
    from icd.cost.cases import method_costs
    from icd.experiments.ablation import ablation_names
    from icd.report.existing import existing
    from icd.report.page import write_page
    from icd.web.render import write_page as write_interactive_page

    track = track_of(args)
    ablations = [ablation_of(args, name) for name in ablation_names(track)]
    found = existing(track, ablations, method_costs(track))
    write_page(track, found, captions(track, ablations))
    write_interactive_page(track, found)


def gather(args: argparse.Namespace) -> None:
    """Gather a part of the interactive page from the runs: curves, images, attention and so on."""
    from icd.experiments.ablation import ablation_names
    from icd.web.gather import write

    track = track_of(args)
    write(args.part, track, [ablation_of(args, name) for name in ablation_names(track)])


def show(args: argparse.Namespace) -> None:
    """Print an ablation's table."""
    from icd.experiments.ablation import FOLDER, ablation_names
    from icd.experiments.known_tracks import splits_by_track
    from icd.experiments.track import command_of, load_track

    name = load_track(args.track, data_root=Path()).name if Path(args.track).suffix else args.track
    file = Path("results", name, args.ablation, "table.md")
    if not file.is_file():
        if args.ablation not in ablation_names():
            raise InputError(FOLDER, args.ablation, "no such table", f"one of {ablation_names()}")
        if name not in (known := splits_by_track()):
            named = f"one of {sorted(known)} or the path of a YAML file"
            raise InputError("--track", "", f"there is no track {name!r}", named)
        expected = f"to run: {command_of(args.ablation, args.track)}"
        raise InputError(file, "", "does not exist", expected)
    print(file.read_text(), end="")


COMMANDS: Commands = {
    collect: [ABLATION, TRACK, DATA, FOLDER, REUSE],
    render: [ABLATION, TRACK, DATA, FOLDER, TRACKING],
    tradeoff: [ABLATION, TRACK, DATA, FOLDER, TRACKING],
    tables: [TRACK, ABLATIONS, DATA, REUSE, TRACKING],
    gather: [("part", {"choices": PARTS, "help": ", ".join(PARTS)}), TRACK, DATA],
    page: [TRACK, DATA],
    show: [ABLATION, MINI_TRACK],
}
