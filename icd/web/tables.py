"""A table of results for the interactive page: its cells, and what each number comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isnan
from typing import Any

import pandas as pd

from icd.experiments.ablation import Row
from icd.report.diagnosis import DecoderDiagnosis
from icd.report.existing import Table
from icd.report.notes import EARLIER, paragraphs
from icd.report.results import AP_NAMES, MEASURED_ON, NOT_RUN, split_status
from icd.report.summary import Entry
from icd.report.tables import DECODER, cells, columns
from icd.web.comparisons import Comparison, comparison
from icd.web.parts import Parts, parts
from icd.web.texts import html

LABEL = "label"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    text: as in the Markdown table.
    value: what the column is sorted by; None for a cell without a number.
    """

    text: str
    value: float | None


@dataclass(frozen=True)
class MeasuredRun:
    """A run of a row.

    run: its id when it was measured, which names its manifest; another than today's if the table
        was measured with an earlier version.
    values: metrics in percent by name.
    """

    run: str
    seed: int | None
    state: str
    reason: str
    values: dict[str, float]


@dataclass(frozen=True)
class RowData:
    """A row of a table; ``absent`` says why the track cannot have it."""

    id: str
    label: str
    baseline: str
    is_baseline: bool
    absent: str | None
    x: float | None
    cells: dict[str, Cell]
    runs: list[MeasuredRun]
    gain: Comparison | None
    difference: Comparison | None
    published: float | None
    published_gain: float | None
    published_source: str | None


@dataclass(frozen=True)
class TableData:
    """A table.

    ap: AP or Mask AP.
    over, to: the baseline of gains and the reference of differences in words.
    annotations: sha256 of the annotations that it was measured on, if it records one.
    earlier: that it was measured with an earlier version of its runs, as HTML; else empty.
    columns: headings by key, in order.
    findings, notes: HTML.
    parts: gains by class and by size; empty if the runs were evaluated without them.
    """

    name: str
    title: str
    question: str
    ap: str
    iou_type: str
    split: str
    over: str
    to: str | None
    axis: str | None
    annotations: str | None
    earlier: str
    columns: dict[str, str]
    rows: list[RowData]
    findings: str
    notes: list[str]
    parts: dict[str, Parts]


def table_data(table: Table) -> TableData:
    """The content of a table that exists."""
    ablation, summary = table.ablation, table.summary
    headings = columns(summary)
    records = _records(table)
    runs = {row.id: _runs(row, records, ablation.iou_type) for row in ablation.rows}
    shown = {ablation.findings.strip(), EARLIER}  # above the table
    return TableData(
        name=ablation.name,
        title=ablation.title,
        question=ablation.question,
        ap=AP_NAMES[ablation.iou_type],
        iou_type=ablation.iou_type,
        split=ablation.split,
        over=summary.over,
        to=summary.to if ablation.references else None,
        axis=ablation.axis.label if ablation.axis else None,
        annotations=_measured_on(table.results.records),
        earlier=html(EARLIER) if summary.earlier else "",
        columns=headings | {LABEL: "row"},
        rows=[
            _row(entry, dict(zip(headings, texts, strict=True)), runs[entry.row.id])
            for entry, texts in zip(summary.entries, cells(summary)[1], strict=True)
        ],
        findings=html(ablation.findings),
        notes=[html(text) for text in paragraphs(summary) if text not in shown],
        parts=parts(table.results, ablation),
    )


def _measured_on(records: pd.DataFrame) -> str | None:
    known = set(records[MEASURED_ON].dropna()) if MEASURED_ON in records else set()
    return str(known.pop()) if len(known) == 1 else None


def _row(entry: Entry, texts: dict[str, str], runs: list[MeasuredRun]) -> RowData:
    values = _values(entry)
    row, reference = entry.row, entry.reference
    return RowData(
        id=row.id,
        label=row.label,
        baseline=entry.baseline.id,
        is_baseline=entry.is_baseline,
        absent=row.absent,
        x=row.x,
        cells={key: Cell(text, values.get(key)) for key, text in texts.items()},
        runs=runs,
        gain=comparison(entry.baseline.id, entry.gain),
        difference=comparison(reference.id if reference else "", entry.difference),
        published=entry.published,
        published_gain=entry.published_gain,
        published_source=row.published.source if row.published else None,
    )


def _values(entry: Entry) -> dict[str, float | None]:
    """The number of each cell, by which its column is sorted."""
    values: dict[str, float | None] = {
        name: sum(seeds) / len(seeds) if seeds else None for name, seeds in entry.metrics.items()
    }
    values |= {
        "seeds": entry.done,
        "gain": entry.gain.mean if entry.gain else None,
        "difference": entry.difference.mean if entry.difference else None,
        "published": entry.published,
        "published_gain": entry.published_gain,
    }
    if entry.cost:
        values |= {"time": entry.cost.time, "memory": entry.cost.memory}
    if entry.deployment:
        values |= asdict(entry.deployment)
    return values | _decoder(entry.decoder)


def _decoder(found: DecoderDiagnosis | None) -> dict[str, float | None]:
    values = {name: getattr(found, name) for name in DECODER} if found else {}
    return {name: None if isnan(value) else value for name, value in values.items()}


Key = tuple[str, int | None]  # row and seed, which stay when the ids of runs change


def _records(table: Table) -> dict[Key, list[Any]]:
    """The lines of ``results.csv`` by row and seed."""
    columns = ["row", "seed", "run", "status", "iou_type", "metric", "value"]
    found: dict[Key, list[Any]] = {}
    for line in table.results.records[columns].itertuples(index=False):
        seed = None if pd.isna(line.seed) else int(line.seed)
        found.setdefault((line.row, seed), []).append(line)
    return found


def _runs(row: Row, records: Mapping[Key, list[Any]], iou_type: str) -> list[MeasuredRun]:
    """The runs of a row as they were measured, with their metrics."""
    found = []
    for run in row.runs:
        lines = records.get((row.id, run.training_seed), [])
        state, reason = split_status(lines[0].status if lines else NOT_RUN)
        values = {
            line.metric: 100 * float(line.value)
            for line in lines
            if line.iou_type == iou_type and pd.notna(line.value)
        }
        name = lines[0].run if lines else run.id
        found.append(MeasuredRun(name, run.training_seed, state, reason, values))
    return found
