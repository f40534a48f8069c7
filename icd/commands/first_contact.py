"""The command for a user's first contact: a track for their data."""

from __future__ import annotations

import argparse
from pathlib import Path

from icd.commands.arguments import Commands

FORMATS = ("coco", "yolo", "voc", "huggingface")


def new_track(args: argparse.Namespace) -> None:
    """Write a track for a folder of data: COCO, YOLO, VOC or a Hugging Face data set."""
    from icd.new_track.new import write_track

    print(write_track(args.folder, args.name, args.output, args.seed, args.format))


COMMANDS: Commands = {
    new_track: [
        ("folder", {"type": Path, "help": "folder with images and annotations"}),
        ("--name", {"help": "name of the track; default: that of the folder"}),
        ("--output", {"type": Path, "help": "YAML file to write; default: NAME.yaml"}),
        ("--format", {"choices": FORMATS, "help": "format of the annotations; default: any"}),
        (
            "--seed",
            {"type": int, "default": 0, "help": "seed of the splits, if the data have only one"},
        ),
    ],
}
