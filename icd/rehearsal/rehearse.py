"""Rehearse kinds of runs on this machine, each whatever becomes of the others."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from icd.errors import InputError
from icd.experiments.kind import ITERATIONS, Kind, changed
from icd.experiments.rehearsals import Rehearsed, file_of, folder, read_rehearsed
from icd.experiments.run import Schedule
from icd.experiments.splits import TEST, TRAIN
from icd.experiments.track import Track
from icd.files import write_json
from icd.process.devices import gpu_models
from icd.process.lock import locked
from icd.rehearsal.images import write_images
from icd.rehearsal.steps import Rehearsing, placed
from icd.training.manifest import processor


@dataclass(frozen=True)
class Options:
    """How kinds are rehearsed.

    random: on random images.
    again: also those that this machine has rehearsed.
    iterations: of each training.
    """

    random: bool = False
    again: bool = False
    iterations: int = ITERATIONS


def adjusted(track: Track, gpus: int | None = None, batch: int | None = None) -> Track:
    """The track with other GPUs or another batch size, as far as they are given.

    With another batch size, its runs are of other kinds.
    """
    content = track.content
    if gpus is not None:
        content = content.model_copy(
            update={"machine": content.machine.model_copy(update={"gpus": gpus})}
        )
    if batch is not None:
        content = content.model_copy(
            update={"recipe": content.recipe.model_copy(update={"batch_size": batch})}
        )
    return replace(track, content=content)


def require_data(track: Track) -> None:
    """Raise InputError unless the images to sample exist."""
    for split in (TRAIN, TEST):
        for path in (track.annotations(split), track.images(split)):
            if not path.exists():
                expected = "the data set, or --random for random images"
                raise InputError(path, "", "does not exist", expected)


def rehearse(track: Track, kinds: Sequence[Kind], options: Options) -> int:
    """Rehearse kinds one after another; returns how many failed.

    The result of each is written to :func:`icd.experiments.rehearsals.file_of`.
    """
    if not options.random:
        require_data(track)
    failed = 0
    for number, kind in enumerate(kinds, 1):
        print(f"{number}/{len(kinds)}  {kind.label}", flush=True)
        known = read_rehearsed(file_of(track, kind.id)).get(machine_name(track))
        if known and known.failure is None and not options.again:
            print("    was rehearsed on this machine: skipped", flush=True)
            continue
        outcome = rehearse_kind(track, kind, options)
        failed += outcome.failure is not None
        print(f"    {words(outcome)}", flush=True)
    return failed


def rehearse_kind(track: Track, kind: Kind, options: Options) -> Rehearsed:
    """Rehearse a kind and write the result; failures are part of it."""
    place = folder(track) / "work" / kind.id
    place.mkdir(parents=True, exist_ok=True)
    log = folder(track) / "logs" / f"{kind.id}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    common: dict[str, Any] = {
        "machine": machine_name(track),
        "gpus": track.machine.gpus,
        "data": "random" if options.random else "real",
        "log": str(log),
    }
    with locked(place):
        log.write_text(f"{kind.label}\n")
        try:
            outcome = Rehearsed(**common, **_measure(track, kind, options, place / "run", log))
        except Exception as error:  # whatever it is, the other kinds are rehearsed
            with log.open("a") as stream:
                traceback.print_exc(file=stream)
            outcome = Rehearsed(**common, failure=" ".join(str(error).split()))
        file = file_of(track, kind.id)
        every = {**read_rehearsed(file), outcome.machine: outcome}
        write_json(file, {name: one.model_dump(exclude_none=True) for name, one in every.items()})
        shutil.rmtree(place, ignore_errors=True)
    return outcome


def _measure(track: Track, kind: Kind, options: Options, place: Path, log: Path) -> dict[str, Any]:
    """Do the steps of a rehearsal in an empty folder; what they measured."""
    shutil.rmtree(place, ignore_errors=True)
    run = kind.rehearsal
    run = changed(run, schedule=Schedule(name="rehearsal", iterations=options.iterations))
    data = place / "data"
    survey = write_images(track, data, 2 * run.recipe.batch_size, options.random)
    rehearsing = Rehearsing(placed(run, place), place, data, survey, track.machine, log)
    rehearsing.describe()
    rehearsing.train()
    rehearsing.evaluate()
    rehearsing.load()
    return rehearsing.measured()


def machine_name(track: Track) -> str:
    """The models of this machine's GPUs, or its processor if the track uses none."""
    if track.machine.gpus:
        return ", ".join(sorted(set(gpu_models()))) or "a machine without GPUs"
    return processor()


def words(outcome: Rehearsed) -> str:
    """The result in one line."""
    if outcome.failure is not None:
        return f"FAILED  {outcome.failure}  (log: {outcome.log})"
    gpu = f", {outcome.gpu_mib:.0f} MiB of the GPU" if outcome.gpu_mib else ""
    return (
        f"passed  {outcome.seconds_per_iteration:.3g} s per iteration"
        f" ({outcome.loading:.0%} loading), {outcome.host_mib:.0f} MiB{gpu}"
    )
