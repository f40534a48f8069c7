"""Commands for the data of a track."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from icd.commands.arguments import DATA, TRACK, WORKERS, Commands, track_of
from icd.errors import InputError

if TYPE_CHECKING:
    from icd.experiments.run import TrainedRun
    from icd.experiments.track import Track


def data(args: argparse.Namespace) -> None:
    """Generate the synthetic data of a track."""
    from icd.data.synthetic import SyntheticSpec, write_dataset

    track = track_of(args)
    if not track.synthetic:
        expected = "a track with synthetic data"
        raise InputError(track.file, "data.synthetic", "is missing", expected)
    sizes = track.synthetic.splits.stated()
    if args.split:
        _require_split(args.split, track)
        sizes = {args.split: sizes[args.split]}
    write_dataset(
        args.data, SyntheticSpec.of(track.synthetic.synthetic.stated()), sizes, args.workers
    )


def make_annotations(args: argparse.Namespace) -> None:
    """Make the annotation file of a split: a part of another, or PASCAL VOC's XML converted."""
    from icd.experiments.annotation_files import make

    make(track_of(args), args.split)


def check(args: argparse.Namespace) -> None:
    """Check the data of a track: sizes, counts, broken images, results of other data."""
    from icd.data.overview import overview
    from icd.data.survey import write_survey
    from icd.experiments.annotation_files import make_or_verify

    track = track_of(args)
    output = args.output or track.results / "data.json"
    track.require_files()
    make_or_verify(track)
    reading = track.reading(_smallest_side(track))
    survey = write_survey(track.split_files, output, args.decode_all, reading)
    print(overview(survey, reading))
    if _has_own_config(track):
        from icd.training.what_is_used import say_what_is_used

        say_what_is_used(_student(track), reading.smallest_side)
    if any(split["without_mask"] or split["run_lengths"] for split in survey["splits"].values()):
        from icd.training.masks import compare_detectors

        print(compare_detectors(track, survey))
    print(f"written: {output}, {output.with_name('samples.png')}")
    _compare_results(track, output, args.retrain)


def _compare_results(track: Track, survey: Path, retrain: bool) -> None:
    """Name the results of other data than those that were surveyed.

    Raises:
        InputError: there are trained runs among them, and nobody asked to replace them.
    """
    from icd.experiments.ablation import ablation_names, load_ablation
    from icd.experiments.data_versions import measured_elsewhere, on_other_data, surveyed

    if not any((track.results / "runs").glob("*/run.json")):
        return
    names = ablation_names(track)
    runs = {run.id: run for name in names for run in load_ablation(name, track).runs}
    present = surveyed(survey)
    for line in measured_elsewhere(track, runs.values(), present):
        print(f"Warning: {line}.")
    for error in on_other_data(track, runs.values(), present):
        if not retrain:
            raise error
        print(f"Warning: {error.where}: {error.problem}; these runs are trained again.")


def _smallest_side(track: Track) -> int:
    """Shortest side of the images that the track's first detector is trained on."""
    from icd.data.reading import SMALLEST_SIDE

    if not _has_own_config(track):
        return SMALLEST_SIDE  # all configs of mmdet agree, and importing torch takes seconds
    from icd.training.base_config import base_config, min_size

    return min_size(base_config(_student(track)))


def _has_own_config(track: Track) -> bool:
    """True if the config of the track's first detector is a file of the user's."""
    return Path(track.content.detectors[track.detector].config).is_file()


def _student(track: Track) -> TrainedRun:
    """The student of the track's first detector."""
    from icd.experiments.run import TrainedRun

    run = track.describe({"role": "student"}, seed=0)
    assert isinstance(run, TrainedRun), "students are trained"
    return run


def _require_split(name: str, track: Track) -> None:
    """Raise InputError unless a track has a split."""
    if name not in track.splits:
        raise InputError(track.file, "data.splits", f"has no {name!r}", f"one of {[*track.splits]}")


COMMANDS: Commands = {
    data: [TRACK, DATA, WORKERS, ("--split", {"help": "split to generate; default: all"})],
    make_annotations: [TRACK, DATA, ("--split", {"required": True, "help": "split of the data"})],
    check: [
        TRACK,
        ("--data", {"type": Path, "help": "root folder of the data set; default: the track's"}),
        ("--output", {"type": Path, "help": "file to write; default: results/NAME/data.json"}),
        ("--decode-all", {"action": "store_true", "help": "decode all pixels of every image"}),
        (
            "--retrain",
            {"action": "store_true", "help": "accept runs on other data, which are to be replaced"},
        ),
    ],
}
