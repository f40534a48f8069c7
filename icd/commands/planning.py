"""Commands that say and try what is planned, before anything is trained."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from icd.commands.arguments import (
    ABLATIONS,
    PLANNED,
    PLANNED_DATA,
    TRACK,
    Commands,
    track_of,
    whole_number,
)
from icd.errors import InputError

if TYPE_CHECKING:
    from icd.experiments.kind import Kind
    from icd.experiments.track import Track

FAILED_KINDS = 3  # exit status of a rehearsal in which some kinds failed


def plan(args: argparse.Namespace) -> None:
    """Print the runs to do, their hours and their disk space, without running anything."""
    from icd.experiments.ablation import ablation_names, load_ablation
    from icd.experiments.plan import done, plan_text
    from icd.experiments.rehearsals import measured
    from icd.experiments.requests import requests
    from icd.process.partitions import Job, all_nodes, partition_of_profile, warnings

    track = track_of(args)
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


def recipes(args: argparse.Namespace) -> None:
    """Compare a track's recipes with those that were published and those of mmdet's configs."""
    from icd.files import write_text
    from icd.training.recipe_table import page

    text = page(track_of(args))
    if args.output:
        write_text(args.output, text)
    else:
        print(text, end="")


def rehearse(args: argparse.Namespace) -> None:
    """Do a few iterations of every kind of run in the plan, save, stop, resume and evaluate."""
    from icd.process.signals import interruptible
    from icd.rehearsal.rehearse import Options, adjusted
    from icd.rehearsal.rehearse import rehearse as rehearse_kinds
    from icd.rehearsal.report import write_report

    track = adjusted(track_of(args), args.gpus, args.batch)
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

    track = track_of(args)
    print(write_report(track, _kinds(args.ablations, track), _kinds([], track)))


def _kinds(ablations: Sequence[str], track: Track) -> list[Kind]:
    """The kinds of runs in ablations; in all if none is named."""
    from icd.experiments.ablation import ablation_names, load_ablation
    from icd.experiments.kind import kinds

    names = ablations or ablation_names(track)
    runs = {run.id: run for name in names for run in load_ablation(name, track).runs}
    return kinds(runs.values())


COMMANDS: Commands = {
    plan: [
        ABLATIONS,
        *PLANNED,
        ("--partition", {"help": "Slurm partition; default: that of profiles/slurm, or any"}),
    ],
    recipes: [
        TRACK,
        PLANNED_DATA,
        ("--output", {"type": Path, "help": "file to write; default: print"}),
    ],
    rehearse: [
        ABLATIONS,
        *PLANNED,
        ("--random", {"action": "store_true", "help": "use random images instead of the data"}),
        ("--again", {"action": "store_true", "help": "repeat what this machine has rehearsed"}),
        ("--kind", {"help": "id of a kind; default: all"}),
        ("--gpus", {"type": int, "help": "GPUs of a run; default: the track's"}),
        ("--batch", {"type": int, "help": "images per iteration; default: the track's"}),
        ("--iterations", {"type": whole_number(2), "help": "iterations of each training"}),
    ],
    rehearsal_table: [ABLATIONS, *PLANNED],
}
