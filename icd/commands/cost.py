"""Commands that measure what a training step costs."""

from __future__ import annotations

import argparse
from pathlib import Path

from icd.commands.arguments import DATA, OUTPUT, OUTPUTS, TRACK, Commands, track_of
from icd.process.devices import use_gpus, visible_gpus


def cost(args: argparse.Namespace) -> None:
    """Measure the cost of a training step with each method, on one GPU or on the CPU."""
    use_gpus(min(len(visible_gpus()), 1) if args.gpus is None else args.gpus)
    from icd.cost.cases import load_plan
    from icd.cost.timing import measure as measure_cost

    measure_cost(load_plan(track_of(args)), args.output)


def cost_table(args: argparse.Namespace) -> None:
    """Render the table and the figure of the measured costs."""
    from icd.cost.cases import load_plan
    from icd.cost.report import write

    write(load_plan(track_of(args)), args.source, args.outputs)


COMMANDS: Commands = {
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
}
