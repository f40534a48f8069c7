"""Where the decoder looks for an object, and where the distillation loss looks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from icd.experiments.ablation import Ablation
from icd.experiments.run import TrainedRun
from icd.experiments.track import Track
from icd.figures.attention_maps import Masks, load_distiller, load_images, look
from icd.figures.examples import examples, read_truth
from icd.figures.panel import draw_box, show, show_maps
from icd.files import read_json
from icd.report.figure import STYLE, save
from icd.training.config import RunInputs

TITLES = {
    "instance": "attention of\nall objects",
    "foreground": "foreground\n(boxes)",
    "activation": "activation\n(teacher, student)",
}
SMALL = 7  # font size


def write(
    ablation: Ablation, track: Track, sources: Sequence[Path], outputs: Sequence[Path]
) -> None:
    """Draw the attention of the first run of the figure's row on a few test images.

    Args:
        sources: the survey of the data set.
    """
    (survey,), (row,) = sources, ablation.choose(ablation.figures["attention"])
    run = row.runs[0]
    assert isinstance(run, TrainedRun), "its row distils"
    inputs = RunInputs(track.data_root, read_json(survey, "what icd check writes"))
    split = ablation.split
    chosen = examples(track, read_truth(track, split), split)
    samples = load_images(run, inputs, [example.id for example in chosen], split)
    distiller = load_distiller(run, inputs)
    draw([look(distiller, sample, rank) for rank, sample in enumerate(samples)], outputs)


def draw(images: list[Masks], outputs: Sequence[Path]) -> None:
    """One line an image: its object, the heads in two lines, the masks."""
    columns = (len(images[0].heads) + 1) // 2
    width = columns + 2 * (1 + len(TITLES))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(0.66 * width, 1.36 * len(images) + 0.35))
        grid = GridSpec(
            2 * len(images),
            width,
            figure,
            0.005,
            0.01,
            0.995,
            1 - 0.36 / figure.get_figheight(),
            wspace=0.06,
            hspace=0.06,
        )
        for line, masks in enumerate(images):
            draw_image(figure, grid, 2 * line, masks)
        save(figure, outputs)


def draw_image(figure: Figure, grid: GridSpec, line: int, masks: Masks) -> None:
    """The panels of one image, from a line of the grid on; the first image has the titles."""
    columns = (len(masks.heads) + 1) // 2
    small = [
        figure.add_subplot(grid[line + head // columns, 2 + head % columns])
        for head in range(len(masks.heads))
    ]
    places = [0, *range(2 + columns, 2 + columns + 2 * len(TITLES), 2)]
    large = [figure.add_subplot(grid[line : line + 2, x : x + 2]) for x in places]
    show(large[0], masks.image)
    show_maps(small, masks.image, masks.heads)
    for axes in (large[0], *small):
        draw_box(axes, masks.boxes[masks.chosen], width=0.9 if axes is large[0] else 0.4)
    for axes, name in zip(large[1:], TITLES, strict=True):
        show_maps([axes], masks.image, masks.where[name][None])
        for box in masks.boxes:
            draw_box(axes, box, width=0.5)
    if line == 0:
        heads = f"attention\nof its query,\nheads 1 to {len(small)}"  # narrow with few heads
        for axes, title in zip(large, ["object", *TITLES.values()], strict=True):
            axes.set_title(title, fontsize=SMALL, pad=3)
        small[0].set_title(heads, loc="left", fontsize=SMALL, pad=3)
