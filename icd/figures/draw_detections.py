"""What the detectors find in a few images, side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from icd.data.images import require_image
from icd.experiments.ablation import Ablation
from icd.experiments.run import Run
from icd.experiments.track import Track
from icd.figures.examples import Example, examples, read_truth
from icd.figures.panel import DASHED, SOLID, draw_box, label_box, show
from icd.figures.verdicts import box_overlaps, verdicts
from icd.files import require_file
from icd.report.figure import STYLE, save

SCORE = 0.3  # detections below it are not shown
NOTE = "With scores in percent. Dashed or labelled below: wrong class, wrong place or duplicate."


def write(
    ablation: Ablation, track: Track, sources: Sequence[Path], outputs: Sequence[Path]
) -> None:
    """Draw the annotations and the detections of the figure's rows; no ``sources``."""
    truth = read_truth(track, ablation.split)
    chosen = examples(track, truth, ablation.split)
    names = {category["id"]: category["name"] for category in truth["categories"]}
    columns = {
        row.label: detections(row.runs[0], {example.id for example in chosen}, ablation.split)
        for row in ablation.choose(ablation.figures["detections"])
    }
    with mpl.rc_context(STYLE):
        size = (1.5 * (1 + len(columns)), 1.5 * len(chosen) + 0.4)
        gaps = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
        figure = Figure(figsize=size, layout=gaps)
        panels = figure.subplots(len(chosen), 1 + len(columns), squeeze=False)
        for line, example in zip(panels, chosen, strict=True):
            draw_line(line, example, columns, names)
        for axes, title in zip(panels[0], ["Ground truth", *columns], strict=True):
            axes.set_title(title, fontsize=8, pad=3)
        figure.supxlabel(NOTE, fontsize=7)
        save(figure, outputs)


def detections(run: Run, images: set[int], split: str) -> list[dict[str, Any]]:
    """The boxes that a run finds in some images of a split with a score of more than ``SCORE``."""
    file = require_file(run.detections(split), "what icd evaluate finds")
    return [
        guess
        for guess in json.loads(file.read_text())
        if guess["image_id"] in images and guess["score"] > SCORE
    ]


def draw_line(
    line: Sequence[Axes],
    example: Example,
    columns: dict[str, list[dict[str, Any]]],
    names: dict[int, str],
) -> None:
    """One image: its annotations, then the detections of each column.

    Wrong ones are dashed and have their labels below.
    """
    image = require_image(example.file)[:, :, ::-1]  # as training reads it
    for axes in line:
        show(axes, image)
    for thing in example.objects:
        draw_box(line[0], corners(thing["bbox"]))
        label_box(line[0], corners(thing["bbox"]), names[thing["category_id"]])
    for axes, guesses in zip(line[1:], columns.values(), strict=True):
        mine = [guess for guess in guesses if guess["image_id"] == example.id]
        marked = zip(mine, right(mine, example.objects), strict=True)
        for guess, is_right in sorted(marked, key=lambda pair: pair[1]):  # right ones on top
            box, name = corners(guess["bbox"]), names[guess["category_id"]]
            draw_box(axes, box, SOLID if is_right else DASHED)
            label_box(axes, box, f"{name} {100 * guess['score']:.0f}", above=is_right)


def right(guesses: list[dict[str, Any]], objects: list[dict[str, Any]]) -> list[bool]:
    """Whether each detection is the best one of an object of its class, as COCO counts it."""
    found = verdicts(guesses, objects, box_overlaps(guesses, objects))
    return [verdict.kind == "right" for verdict in found]


def corners(box: Sequence[float]) -> tuple[float, float, float, float]:
    """COCO's x, y, width, height as x1, y1, x2, y2."""
    x, y, width, height = box
    return x, y, x + width, y + height
