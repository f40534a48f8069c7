"""The figures by name: their captions, what draws them, and what measures their raw numbers.

The key ``figures`` of an ablation's YAML file says which rows a figure shows. Nothing heavy is
imported here, because the Snakefile and the command line import it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol

from icd.errors import InputError
from icd.experiments.ablation import FOLDER, Ablation
from icd.experiments.splits import TEST
from icd.experiments.track import Track

# What each figure shows. Of a row's seeds it shows the first; the errors are those of all seeds.
FIGURES = {
    "attention": "Where the decoder looks for one annotated object, by attention head. Beside it: "
    "the attention of all objects of the image, and the weights that it is compared with "
    "(foreground boxes, activation).",
    "detections": "Annotations, and the detections of each model.",
    "curves": "Losses during training, AP of intermediate checkpoints, and what the decoder does: "
    "its effective tokens, its attention in annotated boxes, and the instances that it recognises "
    "(means over layers and heads).",
    "errors": "AP50 lost to each type of error (TIDE: how much AP50 would rise without it).",
}
# The CSV files that figures are drawn from, and the figures.
FIGURE_OF = {"losses": "curves", "diagnosis": "curves", "steps": "curves", "errors": "errors"}
MEASUREMENTS = tuple(FIGURE_OF)


class Draw(Protocol):
    """Draws a figure of an ablation from ``sources``, in the format of each output's suffix."""

    def __call__(
        self, ablation: Ablation, track: Track, sources: Sequence[Path], outputs: Sequence[Path], /
    ) -> None: ...


Measure = Callable[[Ablation, Track, Path], None]  # gathers raw numbers in one CSV file


def drawing(name: str) -> Draw:
    """The function that draws one of ``FIGURES``."""
    write: Draw = import_module(f"icd.figures.draw_{name}").write
    return write


def measuring(name: str) -> Measure:
    """The function that writes one of ``MEASUREMENTS``."""
    write: Measure = import_module(f"icd.figures.measure_{name}").write
    return write


def require_figure(ablation: Ablation, name: str) -> None:
    """Raise InputError unless an ablation has a figure."""
    if name not in ablation.figures:
        expected = f"one of {[*ablation.figures]}, or its rows under this key"
        file = FOLDER / f"{ablation.name}.yaml"
        raise InputError(file, f"figures.{name}", "is missing", expected)


def folder(track: Track, ablation: Ablation) -> Path:
    """Where the figures of an ablation and their raw numbers lie."""
    return track.results / ("" if ablation.name == "main" else ablation.name) / "figures"


def caption(name: str, ablation: Ablation) -> str:
    """What a figure shows, and of which rows."""
    labels = ", ".join(row.label for row in ablation.choose(ablation.figures[name]))
    split = "" if ablation.split == TEST or name == "curves" else f" Split: {ablation.split}."
    return f"{FIGURES[name]} Shown: {labels}.{split}"


def captions(track: Track, ablations: Iterable[Ablation]) -> dict[str, str]:
    """The captions of all figures that the ablations ask for and the track can have.

    They are keyed by the figure's path without suffix, relative to the track's results.
    """
    return {
        str((folder(track, ablation) / name).relative_to(track.results)): caption(name, ablation)
        for ablation in ablations
        for name in possible(ablation)
    }


def possible(ablation: Ablation) -> list[str]:
    """The figures that an ablation asks for, without those of rows that the track cannot have."""
    absent = {row.id for row in ablation.rows if row.absent}
    return [
        name
        for name in FIGURES
        if name in ablation.figures and absent.isdisjoint(ablation.figures[name])
    ]
