"""A figure of a data set: some images with their boxes, masks and class names."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from pycocotools import mask as masks

from icd.data.annotations import polygons, run_lengths
from icd.data.images import require_image
from icd.files import atomic

ROWS, COLUMNS = 3, 4
SIDE = 400  # pixels; larger images are scaled down
COLOURS = [to_rgb(mpl.colormaps["tab10"](i)) for i in range(10)]


def write_samples(content: dict[str, Any], folder: Path, output: Path) -> None:
    """Draw evenly spaced annotated images of a split, as training reads them.

    Args:
        content: content of an annotation file.
        folder: folder of the images.
        output: PNG file to write.

    Raises:
        InputError: one of the images cannot be read.
    """
    categories = content["categories"]
    classes = {c["id"]: (c["name"], COLOURS[i % len(COLOURS)]) for i, c in enumerate(categories)}
    figure = Figure(figsize=(3 * COLUMNS, 3 * ROWS), dpi=80, layout="constrained")
    cells = list(figure.subplots(ROWS, COLUMNS).flat)
    for cell in cells:
        cell.set_axis_off()
    for cell, image in zip(cells, choose(content, ROWS * COLUMNS), strict=False):
        annotations = [a for a in content["annotations"] if a["image_id"] == image["id"]]
        _draw_image(cell, image, folder)
        for annotation in sorted(annotations, key=lambda a: -a["area"]):  # small ones on top
            _draw_annotation(cell, annotation, image, *classes[annotation["category_id"]])
    with atomic(output) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # missing glyphs are drawn as boxes
        figure.savefig(temporary, metadata={"Software": None})


def choose(content: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """``count`` evenly spaced images with annotations, or all of them if there are fewer."""
    annotated = {annotation["image_id"] for annotation in content["annotations"]}
    images = [image for image in content["images"] if image["id"] in annotated]
    places = np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)
    return [images[i] for i in places]


def _draw_image(axes: Axes, image: dict[str, Any], folder: Path) -> None:
    width, height = image["width"], image["height"]
    scale = min(1, SIDE / max(width, height))
    pixels = require_image(folder / image["file_name"])
    if scale < 1:
        smaller = tuple(max(1, round(side * scale)) for side in (width, height))
        pixels = cv2.resize(pixels, smaller, interpolation=cv2.INTER_AREA)
    axes.imshow(pixels[:, :, ::-1], extent=(0, width, height, 0), interpolation="nearest")
    axes.set_title(Path(image["file_name"]).name, fontsize=7, parse_math=False)
    axes.autoscale(False)


def _draw_annotation(
    axes: Axes,
    annotation: dict[str, Any],
    image: dict[str, Any],
    name: str,
    colour: tuple[float, float, float],
) -> None:
    """A box (dashed for a crowd), its class, and the mask if there is one."""
    x, y, width, height = annotation["bbox"]
    box = Rectangle((x, y), width, height, fill=False, edgecolor=colour, linewidth=1.2)
    box.set_linestyle("--" if annotation["iscrowd"] else "-")
    axes.add_patch(box)
    for outline in _outlines(annotation, image):
        axes.add_patch(
            Polygon(outline, facecolor=(*colour, 0.35), edgecolor="white", linewidth=0.5)
        )
    axes.text(
        *(max(x, 0), max(y, 0)),
        "crowd: " * annotation["iscrowd"] + name,
        fontsize=6,
        color="white",
        clip_on=True,
        verticalalignment="bottom" if y > image["height"] / 12 else "top",  # inside the image
        parse_math=False,
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8},
    )


def _outlines(annotation: dict[str, Any], image: dict[str, Any]) -> list[np.ndarray]:
    """Outlines [points, xy] of an annotation's mask."""
    if not isinstance(annotation.get("segmentation"), dict):
        return [np.reshape(part, (-1, 2)) for part in polygons(annotation)]
    mask = masks.decode(run_lengths(annotation, image))
    found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [outline[:, 0] + 0.5 for outline in found if len(outline) > 2]
