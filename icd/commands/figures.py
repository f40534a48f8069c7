"""Commands that draw what runs do."""

from __future__ import annotations

import argparse
from pathlib import Path

from icd.commands.arguments import (
    ABLATION,
    DATA,
    OUTPUT,
    OUTPUTS,
    TRACK,
    TRACKING,
    Commands,
    ablation_of,
    track_figures,
    track_of,
)
from icd.figures.catalogue import (
    FIGURE_OF,
    FIGURES,
    MEASUREMENTS,
    drawing,
    measuring,
    require_figure,
)
from icd.files import require_file


def measure(args: argparse.Namespace) -> None:
    """Collect the raw numbers of a figure in one CSV file."""
    ablation = ablation_of(args)
    require_figure(ablation, FIGURE_OF[args.name])
    measuring(args.name)(ablation, track_of(args), args.output)


def figure(args: argparse.Namespace) -> None:
    """Draw a figure of the behaviour of an ablation's runs."""
    ablation = ablation_of(args)
    require_figure(ablation, args.name)
    for file in args.sources:
        require_file(file, "what icd measure or icd check writes")
    drawing(args.name)(ablation, track_of(args), args.sources, args.outputs)
    track_figures(args, ablation, args.outputs)


COMMANDS: Commands = {
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
        TRACKING,
    ],
}
