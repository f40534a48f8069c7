"""Commands that download weights, and keep those that were trained."""

from __future__ import annotations

import argparse
import sys

from icd.commands.arguments import (
    ABLATION,
    ABLATIONS,
    OUTPUT,
    PLANNED,
    Commands,
    ablation_of,
    track_of,
)
from icd.errors import InputError


def fetch(args: argparse.Namespace) -> None:
    """Download all weights that tables need: backbones, and teachers of mmdet's model zoo."""
    from icd.experiments.ablation import ablation_names, load_ablation
    from icd.files import sha256
    from icd.training.initial import downloads

    track, remedy, missing = track_of(args), "internet access, or a copy of the file there", []
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


def keep(args: argparse.Namespace) -> None:
    """Copy the weights that were trained for a table's runs to results/, for reuse=true."""
    from icd.training.kept import keep as keep_run

    sources = {source.id: source for run in ablation_of(args).runs for source in run.sources}
    for run in sources.values():
        if run.iterations:  # others are imported
            size = sum(file.stat().st_size for file in keep_run(run).iterdir())
            print(f"{run.kept}: {size / 2**20:.1f} MiB")


COMMANDS: Commands = {
    fetch: [ABLATIONS, *PLANNED],
    keep: [ABLATION, *PLANNED],
    fetch_model: [
        ("model", {"help": "name of the model"}),
        ("--sha256", {"required": True, "help": "sha256 of the weights: the first digits, or all"}),
        OUTPUT,
    ],
}
