"""Tables as a reader sees them."""

from __future__ import annotations

import re
import statistics
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from icd.experiments.ablation_content import Published
from icd.report.figure import write_figures
from icd.report.notes import agreement, sources
from icd.report.statistics import Agreement
from icd.report.summary import METRICS, summarise
from icd.report.tables import markdown, spread, write_tables
from tests.experiments.track_files import MINI
from tests.report.small_table import GAIN, ROWS, collected, shown


def test_the_table_shows_means_spreads_and_gains(ablation, results):
    frame = results.records[results.records.iou_type == "bbox"]
    table = frame.pivot_table(index=["row", "seed"], columns="metric", values="value")
    means, spreads = (100 * getattr(table.groupby("row"), name)() for name in ("mean", "std"))
    cells = shown(ablation, results)
    assert list(cells) == [label for label, _, _ in ROWS.values()]
    for name, (label, _, paper) in ROWS.items():
        line = cells[label]
        for metric in METRICS[:-1]:
            assert line[metric] == f"{means[metric][name]:.1f} ± {spreads[metric][name]:.1f}"
        assert line["APl"] == "-", "no large object, so no number"
        assert line["seeds"] == "3"
        assert line["published AP"] == (f"{paper}" if paper else "-")
    gains = [line["published gain"] for line in cells.values()]
    assert gains == ["+3.0", "", "-", "+2.5"]
    assert cells["Student"][GAIN] == ""


def test_nothing_is_filled_in(broken):
    cells = shown(*broken)
    assert {cells["ICD"][name] for name in (*METRICS, GAIN)} == {"not run"}
    assert cells["ICD"]["seeds"] == "0 of 3"
    assert cells["ICD"]["published AP"] == "39.9"
    assert cells["Student + inheriting"]["seeds"] == "1 of 3"
    assert re.fullmatch(r"\d\d\.\d", cells["Student + inheriting"]["AP"]), "no spread of one"
    assert {cells["Zoo & 50 %"][name] for name in (*METRICS, GAIN)} == {"absent"}


def test_what_is_missing_is_named_with_its_reason(broken):
    text = markdown(summarise(*broken))
    assert (
        "Failed: Teacher, seed 1 (ValueError: x); "
        "Student + inheriting, seed 0 (RuntimeError: no memory)." in text
    )
    assert (
        "Not run: Student + inheriting, seed 1 (its teacher failed); ICD, seed 0; "
        "ICD, seed 1 (its teacher failed); ICD, seed 2." in text
    )
    assert "Absent: Zoo & 50 % (needs COCO)." in text
    assert "Interval of Student + inheriting: images only (one seed)." in text


def test_what_holds_of_all_intervals_is_said_once(ablation, content):
    rows = tuple(replace(row, runs=row.runs[:1]) for row in ablation.rows)
    one_seed = replace(ablation, rows=rows)
    text = markdown(summarise(one_seed, collected(one_seed, content)))
    assert "All intervals cover the images only, because there is one seed." in text
    assert "Interval of" not in text


def test_a_broken_table_is_rendered_in_all_forms(broken):
    ablation, results = broken
    write_tables(ablation, results, Path("out"))
    write_figures(ablation, results, [Path("out/figure.png"), Path("out/figure.svg")])
    frame = pd.read_csv("out/table.csv").set_index("row")
    assert frame.state.to_dict() == {
        "teacher": "done",
        "student": "done",
        "inherit": "done",
        "icd": "not run",
        "zoo": "absent",
    }
    assert frame.loc[["icd", "zoo"], ["AP", "AP_sd", "gain", "gain_low"]].isna().all(axis=None)
    assert frame.loc["icd", "published_gain"] == pytest.approx(2.5)
    assert ">not run</text>" in Path("out/figure.svg").read_text()


@pytest.mark.parametrize("tau", [1.0, 0.9999999999999999])  # SciPy's of five rows in order
def test_a_whole_agreement_is_no_part_of_one(tau):
    assert "published one? Yes: Kendall" in agreement(Agreement(5, tau, 10, 10, 10), None)


def test_the_table_says_whether_the_order_is_the_papers(ablation, results):
    text = markdown(summarise(ablation, results))
    line = next(line for line in text.splitlines() if line.startswith("Does our order"))
    assert "Yes: Kendall's tau is +1.00 [+1.00, +1.00] over the 3 rows" in line
    assert re.search(r"Of the 3 pairs of these rows, \d are significant", line)
    rows = tuple(replace(r, published=None) if r.id == "icd" else r for r in ablation.rows)
    assert "Fewer than three rows" in markdown(summarise(replace(ablation, rows=rows), results))
    swapped = {"teacher": 1.0, "student": 3.0, "icd": 2.0}
    rows = tuple(
        replace(r, published=r.published and Published(AP=swapped[r.id], source=""))
        for r in ablation.rows
    )
    assert "No: Kendall's tau is -1.00" in markdown(
        summarise(replace(ablation, rows=rows), results)
    )


def test_rows_of_one_source_are_named_together(ablation):
    rows = tuple(
        replace(line, published=Published(AP=1.0, source="paper") if i < 2 else None)
        for i, line in enumerate(ablation.rows)
    )
    labels = [line.label for line in rows]
    assert sources(replace(ablation, rows=rows)) == f"Published: {labels[0]} / {labels[1]} (paper)."
    assert sources(replace(ablation, rows=rows[2:])) == ""


def test_the_table_carries_question_findings_recipe_notes_and_sources(ablation, results):
    text = markdown(summarise(replace(ablation, findings="It does."), results))
    assert text.startswith("# A title\n\nA question?\n\n|")
    parts = text.split("\n\n")
    assert "It does." in parts
    assert "Some notes." in parts
    assert parts[-1].startswith("Published: Teacher (source of teacher); Student (source of")
    assert "each with its own teacher" in text
    recipe = MINI["recipe"]
    iterations, batch = recipe["unit"], recipe["batch_size"]
    assert (
        "Baseline Student: retinanet, resnet18-w8, pre-trained 2x on the split pretrain, "
        f"1x ({iterations:,} iterations of {batch} "
        f"images), AdamW with a learning rate of {recipe['optimizer']['lr']:g}, cosine schedule, "
        "images within 96 x 96 pixels, seeds 0, 1, 2. Teacher: retinanet, resnet18-w16, "
        f"4x ({4 * iterations:,} iterations" in text
    )


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([12.34], "12.3"),
        ([1.0, 2.0], "1.5 (1.0, 2.0)"),
        ([1.0, 2.0, 4.0], f"2.3 ± {statistics.stdev([1, 2, 4]):.1f}"),
        ([5.0, 5.0, 5.0], "5.0 ± 0.0"),
        ([], "-"),
    ],
)
def test_spread(values, text):
    assert spread(values) == text
