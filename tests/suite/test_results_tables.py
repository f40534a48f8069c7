"""From metrics to raw numbers, table and figure."""

from __future__ import annotations

import csv
import json
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from track_files import MINI, changed, track, write

from icd.suite.ablation import Ablation, read_ablation
from icd.suite.figures import write_figure
from icd.suite.results import per_seed, read_results, write_results
from icd.suite.tables import METRICS, gain, markdown, render, sources, spread

ROWS = {
    "teacher": ("Teacher", {"role": "teacher"}, 40.4),
    "student": ("Student", {}, 37.4),
    "inherit": ("Student + inheriting", {"inherit": True}, None),
    "icd": ("ICD", {"method": "icd"}, 39.9),
}
CONTENT = {
    "title": "A title",
    "question": "A question?",
    "notes": "Some notes.",
    "baseline": "student",
    "rows": [
        {"id": name, "label": label, "change": change}
        | ({"published": {"AP": value, "source": f"source of {name}"}} if value else {})
        for name, (label, change, value) in ROWS.items()
    ],
}
SEEDS = [0, 1, 2]


@pytest.fixture
def ablation(tmp_path) -> Ablation:
    return read_ablation(
        write(tmp_path / "table.yaml", CONTENT), track(changed(MINI, "seeds", SEEDS))
    )


@pytest.fixture
def numbers(ablation) -> dict[str, dict[str, float | None]]:
    """Metrics of every run, with all their digits; large objects are missing."""
    random = np.random.default_rng(0)
    return {
        run.id: {name: float(random.random()) for name in (*METRICS, "AR1")} | {"APl": None}
        for run in ablation.runs
    }


@pytest.fixture
def results(ablation, numbers, tmp_path, monkeypatch) -> pd.DataFrame:
    """What is read back from the CSV of those metrics."""
    monkeypatch.chdir(tmp_path)
    for run in ablation.runs:
        run.folder.mkdir(parents=True)
        metrics = {"metrics": {"bbox": numbers[run.id]}, "seconds": 1.0}
        (run.folder / "metrics.json").write_text(json.dumps(metrics))
    write_results(ablation, tmp_path / "results.csv")
    return read_results(tmp_path / "results.csv")


def cells(text: str) -> list[list[str]]:
    """The cells of a Markdown table without its rule."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if "--" not in line
    ]


def test_the_csv_holds_every_number_unrounded(ablation, numbers, results, tmp_path):
    with (tmp_path / "results.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == len(ROWS) * len(SEEDS) * len(numbers[ablation.runs[0].id])
    for line, value in zip(lines, results.value, strict=True):
        expected = numbers[line["run"]][line["metric"]]
        if expected is None:
            assert line["value"] == ""
            assert np.isnan(value)
        else:
            assert float(line["value"]) == expected
            assert value == pytest.approx(expected, rel=1e-15)


def test_a_line_of_the_csv_describes_its_run(ablation, results):
    assert list(results.columns[:2]) == ["row", "run"]
    assert list(results.columns[-3:]) == ["kind", "metric", "value"]
    icd = results[results.row == "icd"]
    assert icd.seed.unique().tolist() == SEEDS
    assert set(icd.method) == {"icd"}
    runs = {run.id: run for run in ablation.runs}
    for line in icd.itertuples():
        assert line.teacher == runs[line.run].teacher.id
    identity = ["row", "seed", "kind", "metric"]
    assert not results.duplicated(identity).any()
    assert results.row.unique().tolist() == list(ROWS)


def test_a_teacher_from_elsewhere_leaves_the_seeds_whole_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {"config": "their.py", "checkpoint": "their.pth"}
    found = read_ablation(
        write(tmp_path / "table.yaml", CONTENT), track(changed(MINI, "roles.teacher", files))
    )
    for run in found.runs:
        run.folder.mkdir(parents=True)
        (run.folder / "metrics.json").write_text('{"metrics": {"bbox": {"AP": 1.0}}}')
    write_results(found, Path("results.csv"))
    seeds = pd.read_csv("results.csv", dtype=str, keep_default_na=False).seed
    assert sorted(set(seeds)) == ["", *map(str, MINI["seeds"])]
    assert render(found, read_results(Path("results.csv"))).count("100.0") == len(ROWS)


def test_values_per_seed_are_percent_in_the_order_of_the_table(ablation, numbers, results):
    found = per_seed(results, "AP50")
    assert list(found) == list(ROWS)
    for row in ablation.rows:
        assert found[row.id] == pytest.approx([100 * numbers[run.id]["AP50"] for run in row.runs])
    assert per_seed(results, "AP50", kind="segm") == {}


def test_a_table_of_masks_leaves_out_what_has_none(ablation, results, tmp_path):
    masks = results[results.row != "teacher"].assign(kind="segm")
    both = pd.concat([results, masks.assign(value=masks.value / 2)])
    table = replace(ablation, kind="segm")
    expected = 50 * results[(results.row == "icd") & (results.metric == "AP")].value.mean()
    lines = {row[0]: row for row in cells(render(table, both))}
    assert lines["ICD"][1].startswith(f"{expected:.1f} ±")
    assert lines["Teacher"][1:7] == ["-"] * 6
    assert lines["Teacher"][8] == "-"
    assert "Mask AP in percent" in render(table, both)
    assert "Mask" not in render(ablation, both)
    write_figure(table, both, [tmp_path / "figure.svg"])
    assert "Mask AP" in (tmp_path / "figure.svg").read_text()


def test_the_kind_is_read_from_the_file(tmp_path):
    content = CONTENT | {"kind": "segm"}
    assert read_ablation(write(tmp_path / "table.yaml", content), track(MINI)).kind == "segm"


def test_the_table_shows_means_spreads_and_gains(ablation, results):
    frame = results[results.kind == "bbox"]
    grouped = 100 * frame.pivot_table(
        index="row", columns="metric", values="value", aggfunc="mean", dropna=False
    )
    spreads = 100 * frame.pivot_table(
        index="row", columns="metric", values="value", aggfunc="std", dropna=False
    )
    header, *body = cells(render(ablation, results))
    assert header[1:8] == [*METRICS, "seeds"]
    assert header[8:] == ["gain over Student", "published AP", "published gain"]
    assert [line[0] for line in body] == [label for label, _, _ in ROWS.values()]
    for (row, (_, _, paper)), line in zip(ROWS.items(), body, strict=True):
        shown = dict(zip(header, line, strict=True))
        for metric in METRICS[:-1]:
            assert shown[metric] == f"{grouped[metric][row]:.1f} ± {spreads[metric][row]:.1f}"
        assert shown["APl"] == "-", "no large object, so no number"
        assert shown["seeds"] == "3"
        difference = grouped["AP"][row] - grouped["AP"]["student"]
        assert shown["gain over Student"] == ("" if row == "student" else f"{difference:+.1f}")
        assert shown["published AP"] == (f"{paper}" if paper else "-")
    gains = dict(zip(ROWS, (line[-1] for line in body), strict=True))
    assert gains == {"teacher": "+3.0", "student": "", "inherit": "-", "icd": "+2.5"}


def test_rows_of_one_source_are_named_together(ablation):
    rows = tuple(
        replace(row, published={"AP": 1.0, "source": "paper"} if i < 2 else None)
        for i, row in enumerate(ablation.rows)
    )
    labels = [row.label for row in rows]
    assert sources(replace(ablation, rows=rows)) == f"Published: {labels[0]}, {labels[1]} (paper)."
    assert sources(replace(ablation, rows=rows[2:])) == ""


def test_the_table_carries_title_question_notes_and_sources(ablation, results):
    text = render(ablation, results)
    assert text.startswith("# A title\n\nA question?\n\n|")
    assert "\n\nSome notes.\n\n" in text
    assert (
        "Published: Teacher (source of teacher); Student (source of student); ICD (source" in text
    )
    assert "each with its own teacher" in text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([12.34], "12.3"),
        ([1.0, 2.0], f"1.5 ± {statistics.stdev([1, 2]):.1f}"),
        ([5.0, 5.0, 5.0], "5.0 ± 0.0"),
        ([float("nan"), 7.0], "7.0"),
        ([float("nan")], "-"),
        ([], "-"),
    ],
)
def test_spread(values, text):
    assert spread(values) == text


@pytest.mark.parametrize(
    ("values", "baseline", "text"),
    [
        ([3.0, 5.0], [1.0], "+3.0"),
        ([1.0], [2.0, 4.0], "-2.0"),
        ([float("nan")], [1.0], "-"),
        ([1.0], [], "-"),
        ([1.0, float("nan")], [0.5], "+0.5"),
    ],
)
def test_gain(values, baseline, text):
    assert gain(values, baseline, is_baseline=False) == text
    assert gain(values, baseline, is_baseline=True) == ""


def test_markdown_is_aligned_in_its_source():
    lines = markdown(["", "AP"], [["a long label", "1.0"], ["b", "10.0 ± 2.0"]]).splitlines()
    assert lines == [
        "|              |         AP |",
        "|:-------------|-----------:|",
        "| a long label |        1.0 |",
        "| b            | 10.0 ± 2.0 |",
    ]


def test_equal_numbers_give_equal_figures(ablation, results, tmp_path):
    first, again, other = (
        [tmp_path / f"{name}{kind}" for kind in (".svg", ".png")] for name in "abc"
    )
    write_figure(ablation, results, first)
    write_figure(ablation, results.copy(), again)
    write_figure(ablation, results.assign(value=results.value / 2), other)
    for one, two, three in zip(first, again, other, strict=True):
        assert one.read_bytes() == two.read_bytes()
        assert one.read_bytes() != three.read_bytes()


def test_the_figure_names_rows_and_values(ablation, results, tmp_path):
    write_figure(ablation, results, [tmp_path / "figure.svg"])
    svg = (tmp_path / "figure.svg").read_text()
    means = [statistics.mean(values) for values in per_seed(results, "AP").values()]
    for text in ("A title", "AP (%)", "one seed", "paper, on COCO", *(f"{m:.1f}" for m in means)):
        assert f">{text}</text>" in svg
    for label, _, _ in ROWS.values():
        assert f">{label}</text>" in svg
