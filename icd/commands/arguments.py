"""What commands share: their arguments, and what these name."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd.errors import InputError
from icd.experiments.trackers import TRACKERS
from icd.files import require_file

if TYPE_CHECKING:
    from icd.experiments.ablation import Ablation
    from icd.experiments.splits import Split
    from icd.experiments.track import Track

# Name and options of a command's argument, as argparse expects them.
Argument = tuple[str, dict[str, Any]]

# The commands of a theme, with their arguments.
Commands = dict[Callable[[argparse.Namespace], None], list[Argument]]

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
TRACKING: Argument = (
    "--tracking",
    {
        "nargs": "*",
        "choices": TRACKERS,
        "default": [],
        "metavar": "TRACKER",
        "help": f"experiment trackers: some of {', '.join(TRACKERS)}",
    },
)
TABLES: Argument = (
    "--tables",
    {"nargs": "*", "default": [], "metavar": "TABLE", "help": "tables of the run, for trackers"},
)
WORKERS: Argument = ("--workers", {"type": int, "default": 0, "help": "data-loading processes"})

# A split of a run's data set, for commands that run its detector.
SPLIT: list[Argument] = [
    ("--split", {"default": "test", "help": "split of the run's data set"}),
    ("--annotations", {"help": "COCO JSON file of the split; else as the run describes it"}),
    ("--images", {"help": "image folder of the split; else as the run describes it"}),
]

# The arguments of commands that need neither a track's name nor its data.
MINI_TRACK: Argument = ("--track", TRACK[1] | {"default": "mini"})
PLANNED_DATA: Argument = ("--data", DATA[1] | {"required": False, "default": Path()})
PLANNED = [MINI_TRACK, PLANNED_DATA]


def whole_number(least: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number from ``least``."""

    def parse(text: str) -> int:
        number = int(text)
        if number < least:
            raise ValueError
        return number

    parse.__name__ = f"whole number from {least}"  # argparse shows it
    return parse


def track_of(args: argparse.Namespace) -> Track:
    """The track that a command line names. Its data need not exist."""
    from icd.experiments.track import load_track

    return load_track(args.track, data_root=args.data)


def ablation_of(args: argparse.Namespace, name: str | None = None) -> Ablation:
    """The ablation that a command line names, or another one of its track."""
    from icd.experiments.ablation import load_ablation

    return load_ablation(name or args.ablation, track_of(args))


def track_figures(args: argparse.Namespace, ablation: Ablation, files: Sequence[Path]) -> None:
    """Add the figures among ``files`` to the table's entry in the trackers of a command line."""
    if args.tracking:
        from icd.tracking.send import send_figures

        name = track_of(args).name
        send_figures(args.tracking, name, ablation.name, ablation.question, files)


def files_of_split(args: argparse.Namespace) -> Split | None:
    """The files that a command line names for a split; None for those of the run's description."""
    from icd.experiments.run import load_run
    from icd.experiments.splits import Split

    if (args.annotations is None) != (args.images is None):
        problem = "needs --annotations and --images together"
        raise InputError(f"icd {args.command.__name__}", "", problem, "both or neither")
    if not args.images:
        load_run(args.run).files_of(args.split)  # raises unless it is there
        return None
    for file, origin in ((args.annotations, "a COCO JSON file"), (args.images, "a folder")):
        require_file(Path(file), origin)
    return Split(annotations=args.annotations, images=args.images)
