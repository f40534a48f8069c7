"""Commands that list runs and clean up after them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from icd.commands.arguments import TRACK, Argument, Commands

if TYPE_CHECKING:
    from icd.upkeep.items import Kind

KINDS: tuple[Kind, ...] = ("checkpoints", "runs", "data", "caches")
ANY_TRACK: Argument = (
    "--track",
    TRACK[1] | {"help": f"{TRACK[1]['help']}; default: all with runs here"},
)


def runs(args: argparse.Namespace) -> None:
    """List runs: planned, running, stopped, failed or finished; their AP and age."""
    from icd.upkeep.leftovers import with_generated_data
    from icd.upkeep.listing import list_all, list_track

    print(list_track(with_generated_data(args.track)) if args.track else list_all())


def clean(args: argparse.Namespace) -> None:
    """Say what can be deleted and how much space that frees; delete it only with --delete."""
    from icd.upkeep.cleaning import clean
    from icd.upkeep.leftovers import with_generated_data

    track = with_generated_data(args.track) if args.track else None
    print(clean(track, args.only or KINDS, args.delete))


COMMANDS: Commands = {
    runs: [ANY_TRACK],
    clean: [
        ANY_TRACK,
        (
            "--only",
            {
                "nargs": "+",
                "choices": KINDS,
                "help": "kinds: checkpoints of finished runs, runs that no table needs, old data, "
                "caches; default: all",
            },
        ),
        ("--delete", {"action": "store_true", "help": "delete what is listed"}),
    ],
}
