"""The command line, ``python -m icd COMMAND``, for Snakemake and for users."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from icd.commands import (
    cost,
    data,
    deploy,
    figures,
    first_contact,
    planning,
    runs,
    schemas,
    tables,
    upkeep,
    weights,
)
from icd.commands.arguments import Commands
from icd.process.boundary import report

# In the order of ``icd --help``.
COMMANDS: Commands = {
    command: arguments
    for theme in (
        first_contact,
        data,
        weights,
        planning,
        runs,
        deploy,
        upkeep,
        tables,
        figures,
        cost,
        schemas,
    )
    for command, arguments in theme.COMMANDS.items()
}


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = argparse.ArgumentParser(prog="icd", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for command, arguments in COMMANDS.items():
        name = command.__name__.replace("_", "-")
        others = [command.__name__] if name != command.__name__ else []
        sub = commands.add_parser(
            name, aliases=others, help=command.__doc__, description=command.__doc__
        )
        for argument, options in arguments:
            sub.add_argument(argument, **options)
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
