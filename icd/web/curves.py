"""Training curves of runs: losses, learning rate, gradient norms, the decoder, AP of snapshots."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any, TypedDict

import pandas as pd

from icd.experiments.run import Run
from icd.experiments.track import Track
from icd.figures.catalogue import folder
from icd.figures.measure_losses import entries
from icd.files import read_json
from icd.report.existing import Table

POINTS = 100  # of a curve at most; longer ones are averaged over neighbouring iterations
VALUES = 1_000_000  # of all curves of a page, which take about 4 MB of it
FEWEST = 10  # points of a curve, however many curves there are
DIGITS = 4  # significant ones
SHOWN = re.compile(r"(.*\.)?(lr|loss.*|grad_norm)|diagnosis/.+")
PREFIX = "diagnosis/"
HEAD = re.compile(r"/head\d+/")
STUDENT = "student."  # of a distilled run, whose method has an optimizer of its own
LOGS = "*/vis_data/scalars.json"  # one for each session of a training


class Curve(TypedDict):
    """Values by iteration, counted from 1."""

    iterations: list[int]
    values: list[float]


Curves = dict[str, Curve]  # of a run, by name, e.g. loss_cls


def gather(runs: Iterable[Run], iou_types: Mapping[str, str]) -> dict[str, Curves]:
    """The curves of the runs that left a log.

    Args:
        runs: any runs.
        iou_types: of the AP of snapshots, by run; bbox for runs that it leaves out.
    """
    found = {}
    for run in runs:
        curves = logged(run.folder / "work")
        curves |= snapshots(run.folder / "steps", iou_types.get(run.id, "bbox"))
        if curves:
            found[run.id] = curves
    return found


def logged(work: Path) -> Curves:
    """What a training logged; a later session counts where it repeats iterations."""
    points: dict[int, dict[str, float]] = {}
    for file in sorted(work.glob(LOGS)):
        for entry in entries(file):
            if values := {name: entry[name] for name in entry if SHOWN.fullmatch(name)}:
                points[entry["step"]] = points.get(entry["step"], {}) | values
    histories: Curves = {}
    for iteration, values in sorted(points.items()):
        for name, value in means(values).items():
            curve = histories.setdefault(name, Curve(iterations=[], values=[]))
            curve["iterations"].append(iteration)
            curve["values"].append(value)
    return {name: thinned(curve) for name, curve in histories.items()}


def means(values: Mapping[str, float]) -> dict[str, float]:
    """The values of an iteration, by names that all runs share: heads of attention are averaged."""
    found: dict[str, list[float]] = {}
    for name, value in values.items():
        found.setdefault(HEAD.sub("/", name).removeprefix(STUDENT), []).append(value)
    return {name: fmean(own) for name, own in found.items()}


def thinned(curve: Curve, points: int = POINTS) -> Curve:
    """At most so many points: means over neighbours, at the last of their iterations."""
    count = -(-len(curve["values"]) // points)
    starts = range(0, len(curve["values"]), count)
    return Curve(
        iterations=[curve["iterations"][start : start + count][-1] for start in starts],
        values=[rounded(fmean(curve["values"][start : start + count])) for start in starts],
    )


def fitting(found: Mapping[str, Curves]) -> dict[str, Curves]:
    """Curves of runs with so many points that all of them fit in a page."""
    count = sum(map(len, found.values()))
    points = min(POINTS, max(FEWEST, VALUES // max(count, 1)))
    return {
        run: {name: thinned(curve, points) for name, curve in curves.items()}
        for run, curves in found.items()
    }


def rounded(value: float) -> float:
    """A value with a few significant digits."""
    return float(f"{value:.{DIGITS}g}")


def snapshots(steps: Path, iou_type: str) -> Curves:
    """AP in percent of the snapshots that were evaluated, by the split that they were on."""
    curves: Curves = {}
    for file in sorted(steps.glob("*.json"), key=lambda file: int(file.stem)):
        content = read_json(file, "the metrics of a snapshot")
        value = content["metrics"].get(iou_type, {}).get("AP")
        if value is not None:
            curve = curves.setdefault(
                f"AP, {content['split']} split", Curve(iterations=[], values=[])
            )
            curve["iterations"].append(int(file.stem))
            curve["values"].append(rounded(100 * value))
    return curves


def of_figures(track: Track, tables: Iterable[Table]) -> dict[str, Curves]:
    """The curves that figures were drawn from, for results without the runs."""
    found: dict[str, Curves] = {}
    for table in tables:
        if table.ablation.figures:
            for run, name, iteration, value in _drawn(folder(track, table.ablation)):
                curves = found.setdefault(run, {})
                curve = curves.setdefault(name, Curve(iterations=[], values=[]))
                curve["iterations"].append(iteration)
                curve["values"].append(rounded(value))
    return found


def _drawn(place: Path) -> Iterable[tuple[str, str, int, float]]:
    """Run, name, iteration and value of each point in the CSV files of a folder of figures."""
    tables = {name: _read(place / f"{name}.csv") for name in ("losses", "steps", "diagnosis")}
    for line in tables["losses"]:
        yield line["run"], line["loss"], line["iteration"], line["value"]
    for line in tables["steps"]:
        yield line["run"], f"AP, {line['split']} split", line["iteration"], 100 * line["AP"]
    for line in tables["diagnosis"]:
        for name in line.keys() - {"row", "run", "iteration"}:
            if pd.notna(line[name]):
                yield line["run"], PREFIX + name, line["iteration"], line[name]


def _read(file: Path) -> list[dict[str, Any]]:
    return pd.read_csv(file).to_dict("records") if file.is_file() else []
