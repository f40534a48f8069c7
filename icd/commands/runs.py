"""Commands that train and evaluate one run."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from icd.commands.arguments import (
    DATA,
    GPUS,
    OUTPUT,
    REUSE,
    RUN,
    SPLIT,
    TABLES,
    TRACKING,
    WORKERS,
    Commands,
    files_of_split,
)
from icd.errors import InputError
from icd.experiments.machine import EVALUATORS
from icd.experiments.trackers import Tracking, require_installed
from icd.files import require_file
from icd.process.boundary import require_run
from icd.process.devices import is_launched, use_gpus
from icd.process.failures import recorded
from icd.process.lock import locked

if TYPE_CHECKING:
    from icd.experiments.splits import Split

# A run that was trained before a table drew its curve has none.
_SNAPSHOT = "a snapshot, kept only while a table draws the curve: remove {run} to train it again"


def train(args: argparse.Namespace) -> None:
    """Train the run described in FOLDER/run.json, with one process per GPU."""
    require_run(args.run)
    require_installed(args.tracking, "icd train")
    if args.gpus > 1 and not is_launched():
        from icd.process.launch import launch

        with locked(args.run), recorded(args.run):  # its processes lock the run again
            use_gpus(args.gpus)
        sys.exit(launch(args.gpus, args.argv))
    with locked(args.run), recorded(args.run):
        use_gpus(args.gpus)
        from icd.process.signals import interruptible
        from icd.training.train import Options
        from icd.training.train import train as train_run

        with interruptible(args.run.name):
            options = Options(
                args.workers,
                args.checkpoint_every,
                args.snapshots,
                args.reuse,
                args.deterministic,
                args.rehearse,
                Tracking(args.tracking, args.tables),
            )
            train_run(args.run, args.data, args.survey, args.manifest, options)


def evaluate(args: argparse.Namespace) -> None:
    """Compute the COCO metrics of a run's detector, or of a model that was exported from it."""
    require_run(args.run)
    require_installed(args.tracking, "icd evaluate")
    files = files_of_split(args)
    if args.weights:
        require_file(args.weights, _SNAPSHOT.format(run=args.run))
    if args.onnx:
        _evaluate_exported(args, files)
        return
    # Only figures evaluate other weights. Tables do not depend on them, so failures need no record.
    with nullcontext() if args.weights else recorded(args.run, args.split):
        use_gpus(args.gpus)
        from icd.evaluation.evaluate import evaluate as evaluate_run
        from icd.process.signals import interruptible

        with interruptible(args.run.name):
            evaluate_run(
                args.run,
                args.split,
                args.output,
                args.weights,
                args.evaluator,
                files,
                args.workers,
            )
            if args.tracking:
                _track_metrics(args)


def _track_metrics(args: argparse.Namespace) -> None:
    """Add what was measured to the run's entry in trackers."""
    from icd.experiments.run import load_run
    from icd.tracking.send import send_metrics
    from icd.training.hooks.resume import iteration_of

    run = load_run(args.run)
    iteration = iteration_of(args.weights) if args.weights else run.iterations
    send_metrics(Tracking(args.tracking, args.tables), run, args.output, iteration)


def _evaluate_exported(args: argparse.Namespace, files: Split | None) -> None:
    """Evaluate an ONNX model and print its AP beside that of the checkpoint."""
    from icd.exported.extra import require_extra

    if args.weights:
        problem, expected = "cannot be combined with --weights", "one of the two"
        raise InputError("icd evaluate", "--onnx", problem, expected)
    require_extra()
    use_gpus(0)
    from icd.deploy.evaluate import evaluate as evaluate_exported
    from icd.process.signals import interruptible

    given = args.run, args.onnx, args.split, args.output, args.evaluator, files
    with interruptible(args.run.name):
        print(evaluate_exported(*given))


COMMANDS: Commands = {
    train: [
        RUN,
        DATA,
        ("--survey", {"type": Path, "required": True, "help": "JSON file that check wrote"}),
        ("--manifest", {"type": Path, "required": True, "help": "manifest (provenance) to write"}),
        GPUS,
        WORKERS,
        (
            "--checkpoint-every",
            {"type": int, "default": 1000, "help": "iterations between checkpoints"},
        ),
        (
            "--snapshots",
            {"type": int, "default": 0, "help": "number of detectors to save during training"},
        ),
        ("--deterministic", {"action": "store_true", "help": "use deterministic algorithms"}),
        REUSE,
        (
            "--rehearse",
            {"type": Path, "help": "time each iteration, write to this file, stop in the middle"},
        ),
        TRACKING,
        TABLES,
    ],
    evaluate: [
        RUN,
        OUTPUT,
        GPUS,
        WORKERS,
        *SPLIT,
        ("--weights", {"type": Path, "help": "weights to evaluate instead, e.g. a snapshot"}),
        (
            "--onnx",
            {"type": Path, "metavar": "FILE", "help": "exported model to evaluate, on the CPU"},
        ),
        (
            "--evaluator",
            {
                "choices": EVALUATORS,
                "default": EVALUATORS[0],
                "help": "library that computes COCO metrics",
            },
        ),
        TRACKING,
        TABLES,
    ],
}
