"""Table and figure of the costs of distillation, from the raw numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from icd.cost.cases import BASE, MEMORY, SECONDS, STEP, Plan, ratios
from icd.files import read_json, write_text
from icd.markdown import html, table
from icd.report.figure import STYLE, save

NOTES = (
    "All times are ratios to the student's step plus the teacher's forward pass of the same round; "
    "the table shows medians over rounds. time: 1 plus the time of the method alone (forward, "
    "backward and its optimiser). step: a whole training step with the method. It is less certain, "
    "because most of it is the student's step and the teacher's forward pass themselves. MiB: peak "
    "memory that PyTorch allocates for the method alone, beyond weights and feature pyramids.",
    "Images, boxes and weights are random, and detectors have 80 classes. Steps include optimisers "
    "and image preprocessing, but not data loading.",
)
SHADES = ("white", "0.75", "0.45", "0.1")  # from few to many objects


def write(plan: Plan, source: Path, outputs: list[Path]) -> None:
    """Write tables and figures; the suffix of each output selects its format."""
    measured = pd.read_csv(source)
    about = read_json(source.with_suffix(".json"), "what snakemake cost writes")
    text = markdown(plan, measured, about)
    figures = []
    for output in outputs:
        if output.suffix == ".md":
            write_text(output, text)
        elif output.suffix == ".html":
            write_text(output, html(text))
        else:
            figures.append(output)
    with mpl.rc_context(STYLE):
        save(draw(plan, ratios(measured)), figures)


def markdown(plan: Plan, measured: pd.DataFrame, about: dict[str, Any]) -> str:
    """Title, question, a table for each batch, and notes."""
    parts = [f"# {plan.content.title}", plan.content.question]
    for batch, some in _batches(measured):
        parts += [heading(batch, some, about), _table(plan, ratios(some))]
    return "\n\n".join([*parts, *NOTES]) + "\n"


def heading(batch: tuple[Any, ...], measured: pd.DataFrame, about: dict[str, Any]) -> str:
    """The hardware and batch of a table, and the absolute costs that its ratios refer to."""
    _, precision, images, detector = batch
    hardware = about["hardware"]
    device = about["device"]
    if device == "CPU":
        device = f"{hardware['processor']}, {hardware['threads']} thread"
    size = f"{about['images']['height']} x {about['images']['width']}"
    base = measured[measured.row.isin(BASE) & (measured.part == STEP)]
    seconds = base[base.quantity == SECONDS].groupby("row").value.median()
    text = f"{detector}, {device}, {precision}, batch of {images} at {size}: student's step "
    text += f"{seconds['student']:.3g} s, teacher's forward pass {seconds['teacher']:.3g} s."
    memory = base[(base.quantity == MEMORY) & (base.row == "student")].value
    if len(memory):  # grows with the number of objects, which are assigned to anchors
        needs = " to ".join(dict.fromkeys(f"{v:.0f}" for v in (memory.min(), memory.max())))
        text += f" The student's step needs {needs} MiB beyond its weights."
    return text


def _batches(measured: pd.DataFrame) -> Any:
    return measured.groupby(["device", "precision", "images", "detector"], sort=False)


def _table(plan: Plan, costs: pd.DataFrame) -> str:
    counts = sorted(costs.objects.unique())
    cells = costs.set_index(["row", "objects"])
    columns = {"time": ".2f", "step": ".2f", "MiB": ".0f"}
    columns = {name: form for name, form in columns.items() if costs[name].notna().any()}
    header = ["", *(f"{name}, {_objects(n)}" for name in columns for n in counts)]
    body = [
        [
            label,
            *(number(cells[name][row, n], form) for name, form in columns.items() for n in counts),
        ]
        for row, label in plan.labels.items()
        if row in cells.index
    ]
    return table(header, body)


def _objects(count: int) -> str:
    return f"{count} object" if count == 1 else f"{count} objects"


def number(value: float, form: str) -> str:
    """A number, or a dash where it was not measured."""
    return f"{value:{form}}" if pd.notna(value) else "-"


def draw(plan: Plan, costs: pd.DataFrame) -> Figure:
    """Time ratio and memory of each row in the first batch; one mark per number of objects."""
    first = costs.iloc[0]
    costs = costs[(costs.precision == first.precision) & (costs.images == first.images)]
    costs = costs[(costs.device == first.device) & (costs.detector == first.detector)]
    labels = {row: label for row, label in plan.labels.items() if row in set(costs.row)}
    places = {row: -i for i, row in enumerate(labels)}
    figure = Figure(figsize=(7.6, 0.27 * len(labels) + 1.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    counts = sorted(costs.objects.unique())
    for count, shade in zip(counts, SHADES[-len(counts) :], strict=False):
        some = costs[costs.objects == count]
        heights = some.row.map(places)
        marks: dict[str, Any] = {"s": 26, "facecolor": shade, "edgecolor": "0.1", "zorder": 3}
        label = f"{_objects(count)} an image"
        left.scatter(some.time, heights, label=label, **marks)
        right.scatter(some.MiB, heights, **marks)
    left.axvline(1, color="0.6", linewidth=0.8)
    left.set(title="Time of a step", xlabel="ratio to student's step + teacher's forward pass")
    right.set(title="Memory of the method", xlabel="MiB")
    left.set_yticks(list(places.values()), list(labels.values()))
    for axes in (left, right):
        axes.grid(axis="y", color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=len(counts))
    return figure
