"""The tables of the page have the numbers of the raw files, and say where they come from."""

from __future__ import annotations

import json
from contextlib import chdir
from dataclasses import asdict
from statistics import mean

import pandas as pd
import pytest

from icd.report.breakdown import significant
from icd.report.existing import existing
from icd.report.summary import METRICS
from icd.web.tables import RowData, TableData, table_data
from tests.web.site import Site


@pytest.fixture(scope="module")
def tables(site: Site) -> list[TableData]:
    with chdir(site.folder):
        return [table_data(table) for table in existing(site.track, site.ablations).shown]


def row_of(table: TableData, name: str) -> RowData:
    return next(row for row in table.rows if row.id == name)


def test_cells_are_those_of_the_markdown_table(site: Site, tables: list[TableData]) -> None:
    text = (site.folder / site.track.results / "main/table.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    header, _, *body = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    assert list(tables[0].columns.values())[1:] == header[1:]
    assert [[cell.text for cell in row.cells.values()] for row in tables[0].rows] == body


def test_values_are_means_of_the_runs_own_metrics(site: Site, tables: list[TableData]) -> None:
    for row in ("student", "icd"):
        metrics = [site.metrics(site.run(row, seed))["metrics"]["bbox"] for seed in (0, 1)]
        shown = row_of(tables[0], row)
        for name in METRICS:
            known = [own[name] for own in metrics]
            expected = None if known[0] is None else 100 * mean(known)
            assert shown.cells[name].value == pytest.approx(expected)
            assert [run.values.get(name) for run in shown.runs] == pytest.approx(
                [None if value is None else 100 * value for value in known]
            )


def test_masks_show_the_metrics_of_masks(site: Site, tables: list[TableData]) -> None:
    run = site.ablations[1].row("student").runs[0]
    shown = row_of(tables[1], "student").runs[0]
    assert tables[1].ap == "Mask AP"
    assert shown.values["AP"] == 100 * site.metrics(run)["metrics"]["segm"]["AP"]
    assert shown.values["AP"] != 100 * site.metrics(run)["metrics"]["bbox"]["AP"]


def test_gains_are_paired_by_seed(tables: list[TableData]) -> None:
    (table, _), names = tables, ("icd", "student")
    ours, theirs = ([run.values["AP"] for run in row_of(table, name).runs] for name in names)
    gain = row_of(table, "icd").gain
    assert gain is not None
    assert gain.other == "student"
    assert gain.values == pytest.approx([a - b for a, b in zip(ours, theirs, strict=True)])
    assert gain.mean == pytest.approx(mean(gain.values))
    assert gain.low is not None
    assert gain.low < gain.mean
    assert gain.inconclusive == (gain.low <= 0)
    assert row_of(table, "student").gain is None
    difference = row_of(table, "icd").difference
    assert difference is not None
    assert difference.other == "inherit"


def test_a_row_that_was_not_run_says_so(tables: list[TableData]) -> None:
    row = row_of(tables[0], "never")
    assert row.cells["AP"].text == "not run"
    assert {key: cell.value for key, cell in row.cells.items() if cell.value is not None} == {
        "seeds": 0
    }
    assert {run.state for run in row.runs} == {"not run"}


def test_cells_with_numbers_have_values_to_sort_by(tables: list[TableData]) -> None:
    cells = row_of(tables[0], "student").cells
    assert {key for key, cell in cells.items() if cell.value is not None} == {
        *METRICS[:4],  # no object is larger
        "seeds",
        "published",
        "difference",
    }


def test_parts_are_those_of_the_csv_files(site: Site, tables: list[TableData]) -> None:
    frame = pd.read_csv(site.folder / site.track.results / "main/per_class.csv")
    frame["significant"] = significant(frame)
    own = frame[frame["row"] == "icd"]
    parts = tables[0].parts["class"]["icd"]
    assert [part.name for part in parts] == list(own["class"])
    assert [part.gain for part in parts] == pytest.approx(list(own["gain"]), abs=1e-4)
    assert [part.significant for part in parts] == list(own["significant"])
    assert tables[0].parts["class"]["student"][0].gain is None


def test_html_in_notes_and_labels_stays_text(tables: list[TableData]) -> None:
    notes = "".join(tables[0].notes)
    assert "&lt;b&gt;no HTML&lt;/b&gt; &amp; a <a href=" in notes


def test_plain_data_without_nan(tables: list[TableData]) -> None:
    json.dumps([asdict(table) for table in tables], allow_nan=False)
