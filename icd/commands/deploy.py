"""Commands that make a run's detector usable elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path

from icd.commands.arguments import OUTPUT, RUN, SPLIT, Commands, files_of_split, whole_number
from icd.exported.contract import PRECISIONS
from icd.exported.extra import require_extra
from icd.process.boundary import require_run
from icd.process.devices import use_gpus

CALIBRATION = 100  # images


def export(args: argparse.Namespace) -> None:
    """Write a run's detector as an ONNX model."""
    require_run(args.run)
    require_extra()
    use_gpus(0)
    from icd.deploy.describe import Form
    from icd.deploy.export import export as export_run

    size = tuple(args.size) if args.size else None
    form = Form(args.precision, not args.no_nms, args.batch, size)
    export_run(args.run, args.onnx, form, args.calibration)
    print(f"written: {args.onnx}")


def deployment(args: argparse.Namespace) -> None:
    """Measure how large and how fast a run's detector is."""
    require_run(args.run)
    files = files_of_split(args)
    require_extra()
    use_gpus(0)
    from icd.deploy.measure import measure

    measure(args.run, args.split, args.output, files)


COMMANDS: Commands = {
    export: [
        RUN,
        ("--onnx", {"type": Path, "required": True, "metavar": "FILE", "help": "file to write"}),
        (
            "--precision",
            {"choices": PRECISIONS, "default": PRECISIONS[0], "help": "how networks are computed"},
        ),
        (
            "--no-nms",
            {"action": "store_true", "help": "end before non-maximum suppression"},
        ),
        ("--batch", {"type": whole_number(1), "help": "images in a batch; default: any number"}),
        (
            "--size",
            {
                "type": whole_number(1),
                "nargs": 2,
                "metavar": ("HEIGHT", "WIDTH"),
                "help": "pixels of the padded images; default: any",
            },
        ),
        (
            "--calibration",
            {
                "type": whole_number(1),
                "default": CALIBRATION,
                "help": "number of training images that set the ranges of int8",
            },
        ),
    ],
    deployment: [RUN, OUTPUT, *SPLIT],
}
