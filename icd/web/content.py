"""All that the page shows: raw numbers, manifests, and what was gathered of the runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any

from icd.experiments.track import Track
from icd.report.answers import answers
from icd.report.existing import Table, Tables
from icd.report.notes import tau
from icd.report.statistics import Agreement
from icd.web import curves
from icd.web.gathered import (
    ATTENTION,
    CURVES,
    DETECTIONS,
    IMAGES,
    PRECISION,
    gathered,
)
from icd.web.provenance import Provenance, provenances
from icd.web.tables import TableData, table_data

CLASS_CURVES = 1_500_000  # characters of the precision-recall curves by class, of all runs
SAME = 1e-9  # by which the AP of a curve may differ from that of a table


@dataclass(frozen=True)
class Order:
    """How far the order of a table's rows is the published one; see Agreement.

    text: tau with its interval.
    """

    rows: int
    tau: float
    text: str
    pairs: int
    significant: int
    same: int


@dataclass(frozen=True)
class Answered:
    """A question that a table answers; cells stand under :data:`icd.report.answers.HEADER`."""

    table: str
    cells: list[str]


@dataclass(frozen=True)
class Content:
    """The content of a page.

    answers: in the order of the tables.
    orders: of all rows, and without the baselines, by table; None for fewer than three rows.
    runs: by id.
    parts: what was gathered of the runs, by part; empty mappings where nothing was.
    """

    track: str
    title: str
    tables: list[TableData]
    answers: list[Answered]
    orders: dict[str, tuple[Order | None, Order | None]]
    outdated: list[str]
    runs: dict[str, Provenance]
    parts: dict[str, Mapping[str, Any]]


def content(track: Track, tables: Tables) -> Content:
    """The page of the tables that exist."""
    shown = [table_data(table) for table in tables.shown]
    measured = dict.fromkeys(run.run for table in shown for row in table.rows for run in row.runs)
    return Content(
        track=track.name,
        title=track.content.title,
        tables=shown,
        answers=[
            Answered(table.ablation.name, answer.cells)
            for table in tables.shown
            for answer in answers(table.summary, table.ablation.answers)
        ],
        orders={table.ablation.name: _orders(table) for table in tables.shown},
        outdated=tables.outdated,
        runs=provenances(track.results / "manifests", measured),
        parts={
            CURVES: curves.fitting(
                curves.of_figures(track, tables.shown) | gathered(track, CURVES)
            ),
            PRECISION: precision_of(shown, gathered(track, PRECISION)),
            **{part: gathered(track, part) for part in (IMAGES, DETECTIONS, ATTENTION)},
        },
    )


def _orders(table: Table) -> tuple[Order | None, Order | None]:
    return _order(table.summary.order), _order(table.summary.order_distilled)


def _order(found: Agreement | None) -> Order | None:
    """An agreement for the page; tau is NaN if all values are equal."""
    if found is None or isnan(found.tau):
        return None
    return Order(found.rows, found.tau, tau(found), found.pairs, found.significant, found.same)


def precision_of(tables: Iterable[TableData], found: Mapping[str, Any]) -> dict[str, Any]:
    """The gathered curves of the runs in the tables, as far as their AP is that of the table.

    Curves of other detections than the table's are left out. Curves by class are those of the first
    runs only, because those of many classes and runs would make the page too large.
    """
    shown: dict[str, Any] = {}
    room = CLASS_CURVES
    for table in tables:
        for run in (run for row in table.rows for run in row.runs):
            curve = found.get(run.run, {}).get(table.split, {}).get(table.iou_type)
            splits = shown.setdefault(run.run, {})
            known = splits.setdefault(table.split, {})
            if table.iou_type in known or not curve or not _is_of(curve["AP"], run.values):
                continue
            room -= sum(map(len, curve["classes"].values()))
            known[table.iou_type] = curve if room >= 0 else curve | {"classes": {}}
    return {run: splits for run, splits in shown.items() if any(splits.values())}


def _is_of(ap: float | None, values: Mapping[str, float]) -> bool:
    """True if an AP, as a fraction, is that of a run's metrics in percent."""
    return ap is not None and abs(100 * ap - values.get("AP", float("inf"))) < SAME
