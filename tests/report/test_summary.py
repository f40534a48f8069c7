"""Means, gains and intervals of the rows of a table."""

from __future__ import annotations

import re
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from icd.experiments.ablation import read_ablation
from icd.report.figure import write_figures
from icd.report.intervals import estimate
from icd.report.summary import METRICS, summarise
from icd.report.tables import markdown, numbers, signed
from tests.experiments.track_files import MINI, changed, track, write
from tests.report.small_table import CONTENT, GAIN, LEVELS, collected, known, shown


def test_a_teacher_from_elsewhere_leaves_the_seeds_whole_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {"config": "their.py", "checkpoint": "their.pth"}
    found = read_ablation(
        write(tmp_path / "table.yaml", CONTENT), track(changed(MINI, "roles.teacher", files))
    )
    results = collected(found, {run.id: {"metrics": {"bbox": {"AP": 1.0}}} for run in found.runs})
    seeds = pd.read_csv("out/results.csv", dtype=str, keep_default_na=False).seed
    assert sorted(set(seeds)) == ["", *map(str, MINI["seeds"])]
    cells = shown(found, results)
    assert [line["AP"] for line in cells.values()] == ["100.0"] + ["100.0 ± 0.0"] * 3
    assert cells["Teacher"][GAIN].startswith("+0.0 [+0.0, +0.0]"), "it stands beside every seed"
    assert "used unchanged" in markdown(summarise(found, results))


def test_a_table_of_masks_leaves_out_what_has_none(ablation, content):
    for line in ablation.rows[1:]:
        for run in line.runs:
            metrics = content[run.id]["metrics"]
            metrics["segm"] = {"AP": metrics["bbox"]["AP"] / 2}
    results = collected(ablation, content)
    table = replace(ablation, iou_type="segm")
    expected = statistics.mean(
        50 * content[run.id]["metrics"]["bbox"]["AP"] for run in ablation.row("icd").runs
    )
    cells = shown(table, results)
    assert cells["ICD"]["AP"].startswith(f"{expected:.1f} ±")
    assert {cells["Teacher"][name] for name in (*METRICS, GAIN)} == {"-"}
    assert "Mask AP in percent" in markdown(summarise(table, results))
    assert "Mask" not in markdown(summarise(ablation, results))
    write_figures(table, results, [Path("figure.svg")])
    assert "Mask AP" in Path("figure.svg").read_text()


def test_the_iou_type_is_read_from_the_file(tmp_path):
    content = CONTENT | {"iou_type": "segm"}
    assert read_ablation(write(tmp_path / "table.yaml", content), track(MINI)).iou_type == "segm"


def test_a_gain_is_paired_and_has_both_errors(ablation, content, results):
    pairs = list(zip(ablation.row("icd").runs, ablation.row("student").runs, strict=True))
    values, images = [], []
    for run, other in pairs:
        a, b = content[run.id], content[other.id]
        values.append(100 * (a["metrics"]["bbox"]["AP"] - b["metrics"]["bbox"]["AP"]))
        images.append(100 * np.subtract(a["bootstrap"]["bbox"], b["bootstrap"]["bbox"]))
    shared = max(np.cov(images)[np.triu_indices(3, 1)].mean(), 0)  # may be negative by chance
    parts = np.array([np.var(values, ddof=1) / 3, shared])
    half = parts @ stats.t.ppf(0.975, [2, 49]) / parts.sum() * np.sqrt(parts.sum())
    mean = np.mean(values)
    line = numbers(summarise(ablation, results)).set_index("row").loc["icd"]
    found = [line.gain, line.gain_low, line.gain_high]
    assert found == pytest.approx([mean, mean - half, mean + half], abs=1e-3)
    expected = f"{line.gain:+.1f} [{line.gain_low:+.1f}, {line.gain_high:+.1f}]"
    assert shown(ablation, results)["ICD"][GAIN] == expected


def test_a_reference_has_a_column_of_its_own(ablation, results):
    cells = shown(replace(ablation, reference="icd"), results)
    name = "difference to ICD [95 %]"
    assert cells["ICD"][name] == ""
    assert cells["Student"][name].startswith("-")
    there, back = (cells[label][column] for label, column in (("Student", name), ("ICD", GAIN)))
    assert there.split()[0].lstrip("-") == back.split()[0].lstrip("+")


def test_a_row_may_have_a_reference_of_its_own(ablation, results):
    def rows(**references):
        return tuple(replace(row, reference=references.get(row.id)) for row in ablation.rows)

    cells = shown(replace(ablation, rows=rows(inherit="icd")), results)
    name = "difference to ICD [95 %]"
    assert [cells[label][name] != "" for label in ("Teacher", "Student", "ICD")] == [False] * 3
    one = replace(ablation, reference="icd")
    assert cells["Student + inheriting"][name] == shown(one, results)["Student + inheriting"][name]
    two = replace(ablation, rows=rows(inherit="icd", teacher="inherit"))
    assert "difference to its reference [95 %]" in shown(two, results)["Teacher"]
    line = summarise(two, results).entry("teacher")
    level = {name: np.mean(summarise(two, results).entry(name).metrics["AP"]) for name in LEVELS}
    assert known(line.difference).mean == pytest.approx(level["teacher"] - level["inherit"])


def test_a_row_may_have_a_baseline_of_its_own(ablation, results):
    rows = tuple(replace(r, baseline="inherit") if r.id == "icd" else r for r in ablation.rows)
    summary = summarise(replace(ablation, rows=rows), results)
    line = summary.entries[-1]
    expected = np.mean(line.metrics["AP"]) - np.mean(summary.entries[2].metrics["AP"])
    assert known(line.gain).mean == pytest.approx(expected)
    assert line.published_gain is None, "the paper has no value of that baseline"
    text = markdown(summary)
    assert "gain over its baseline" in text
    pattern = r"Baselines \(all: (.+?)\): Student: (.*?); Student \+ inheriting: (.*?)\."
    notes = known(re.search(pattern, text))
    assert notes[1].startswith("retinanet, resnet18-w8, pre-trained 2x")
    assert notes[1].endswith("seeds 0, 1, 2")
    assert (notes[2], notes[3]) == ("nothing else", "inheriting")


def test_a_difference_whose_interval_holds_zero_is_called_inconclusive():
    assert signed(estimate([0.25, 0.35], None)) == "+0.3 [-0.3, +0.9] inconclusive"
    assert signed(estimate([0.29, 0.31], None)) == "+0.3 [+0.2, +0.4]"
    assert signed(estimate([-2.0], None)) == "-2.0"


def test_a_gain_without_its_baseline_says_so(ablation, content):
    for run in ablation.row("student").runs[1:]:
        del content[run.id]
    first = collected(ablation, content)
    icd = shown(ablation, first)["ICD"]
    assert (icd["seeds"], icd[GAIN] != "-") == ("3", True)
    text = markdown(summarise(ablation, first))
    assert "All intervals cover the common seeds only." in text
    (ablation.row("icd").runs[0].folder / "metrics.json").unlink()
    assert shown(ablation, collected(ablation, {}))["ICD"][GAIN] == "no common seed"
    (ablation.row("student").runs[0].folder / "metrics.json").unlink()
    assert shown(ablation, collected(ablation, {}))["ICD"][GAIN] == "Student not run"


def test_a_published_value_of_another_recipe_counts_in_no_order(ablation, results):
    order = summarise(ablation, results).order
    (*others, icd) = ablation.rows
    icd = replace(icd, published=icd.published.model_copy(update={"comparable": False}))
    found = summarise(replace(ablation, rows=(*others, icd)), results)
    assert known(order).rows == 3
    assert found.order is None, "two are left"
    assert found.entry("icd").published == 39.9


def test_a_published_gain_is_over_the_students_of_its_source(ablation, results):
    (*others, icd) = ablation.rows
    rival = icd.published.model_copy(update={"comparable": False, "AP": 40.8, "over": 38.5})
    table = replace(ablation, reference="inherit", rows=(*others, replace(icd, published=rival)))
    found = summarise(table, results).entry("icd")
    assert found.published_gain == pytest.approx(2.3)
    assert found.published_difference is None, "it would compare recipes"
    bare = replace(icd, published=rival.model_copy(update={"over": None}))
    table = replace(ablation, rows=(*others, bare))
    assert summarise(table, results).entry("icd").published_gain is None


def test_without_a_bootstrap_the_seeds_stand_alone_and_the_table_says_so(ablation, content):
    for entry in content.values():
        del entry["bootstrap"]
    results = collected(ablation, content)
    assert len(results.bootstrap) == 0
    assert "cover the seeds only, because there is no bootstrap" in markdown(
        summarise(ablation, results)
    )
    values, others = (
        list(results.values(ablation.row(name), "AP", "bbox").values())
        for name in ("icd", "student")
    )
    low, high = stats.ttest_rel(values, others).confidence_interval()
    assert f"[{low:+.1f}, {high:+.1f}]" in shown(ablation, results)["ICD"][GAIN]
