"""Gains by class and size, against the table's own estimator and hand-made parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from icd.experiments.ablation import Ablation
from icd.report.breakdown import breakdown, losers, significant
from icd.report.draw_breakdown import draw_breakdown, write_breakdown
from icd.report.results import Results
from icd.report.statistics import Sample, difference
from icd.report.summary import summarise
from icd.report.tables import markdown
from tests.report.small_table import collected, known

SHIFT = {"cat": 0.2, "dog": -0.3}  # how much better than in all each class is for ICD


@pytest.fixture
def by_class(ablation: Ablation, content: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Metrics with classes: all rows are as good as in all, but ICD wins and loses one."""
    icd = {run.id for run in ablation.row("icd").runs}
    for run, metrics in content.items():
        ap, resampled = metrics["metrics"]["bbox"]["AP"], metrics["bootstrap"]["bbox"]
        classes: dict[str, Any] = {
            name: {
                "AP": ap + shift * (run in icd),
                "bootstrap": [value + shift * (run in icd) for value in resampled],
            }
            for name, shift in SHIFT.items()
        }
        classes["unseen"] = {"AP": None, "bootstrap": [None] * len(resampled)}
        whole = {"AP": ap, "bootstrap": resampled}
        metrics["parts"] = {"bbox": {"class": classes, "size": {"small": whole}}}
    return content


@pytest.fixture
def classified(ablation: Ablation, by_class: dict[str, dict[str, Any]]) -> Results:
    return collected(ablation, by_class)


def test_a_part_equal_to_the_whole_has_the_tables_gain(
    ablation: Ablation, classified: Results
) -> None:
    table = summarise(ablation, classified)
    sizes = classified.parts["size"].set_index("row")
    for name in ("teacher", "inherit", "icd"):
        gain = known(table.entry(name).gain)
        line = sizes.loc[name]
        assert line["gain"] == pytest.approx(gain.mean)
        interval = known(gain.interval)
        assert (line["gain_low"], line["gain_high"]) == pytest.approx(interval, abs=1e-3)
    assert pd.isna(sizes.loc["student", "gain"]), "the baseline has no gain"
    assert sizes.loc["student", "AP"] == pytest.approx(
        np.mean(table.entry("student").metrics["AP"])
    )


def test_gains_of_a_class_are_paired(
    ablation: Ablation, by_class: dict[str, dict[str, Any]]
) -> None:
    frame = breakdown(ablation, by_class, "class")
    samples = []
    for name in ("icd", "student"):
        runs = {run.training_seed: by_class[run.id] for run in ablation.row(name).runs}
        parts = {seed: one["parts"]["bbox"]["class"]["cat"] for seed, one in runs.items()}
        samples.append(
            Sample(
                {seed: 100 * part["AP"] for seed, part in parts.items()},
                {seed: 100 * np.array(part["bootstrap"]) for seed, part in parts.items()},
            )
        )
    expected = known(difference(*samples))
    line = frame[(frame.row == "icd") & (frame["class"] == "cat")].iloc[0]
    assert line["gain"] == pytest.approx(expected.mean)
    assert line["gain_p"] == pytest.approx(expected.p)
    assert "unseen" not in set(frame["class"]), "a class without objects has no AP"


def test_the_note_names_the_classes_that_lose(ablation: Ablation, classified: Results) -> None:
    lost = losers(classified.parts["class"])
    assert [name for name, _ in lost["icd"]] == ["dog"]
    assert set(lost) == {"icd"}
    text = markdown(summarise(ablation, classified))
    assert "Classes that lose significantly over Student" in text
    assert "ICD: dog -" in text


def test_holm_corrects_within_a_row() -> None:
    frame = pd.DataFrame({"row": ["a"] * 3 + ["b"], "gain_p": [0.03, 0.04, 0.01, 0.04]})
    assert list(significant(frame)) == [False, False, True, True]


def test_tables_of_an_earlier_version_have_no_parts(ablation: Ablation, results: Results) -> None:
    for kind in ("class", "size"):
        assert results.parts[kind].empty, "runs that were evaluated without parts"
    assert "Classes" not in markdown(summarise(ablation, results))
    assert "Classes" not in markdown(summarise(ablation, Results(results.records)))
    figure = draw_breakdown(ablation, results)
    assert "no gains by class" in figure.texts[0].get_text()


def test_the_figure_shows_every_gain(ablation: Ablation, classified: Results) -> None:
    figure = draw_breakdown(ablation, classified)
    sizes, classes = figure.axes[:2]
    assert [label.get_text() for label in classes.get_xticklabels()] == ["cat", "dog"]
    assert [label.get_text() for label in sizes.get_yticklabels()] == [
        "Teacher",
        "Student + inheriting",
        "ICD",
    ]
    frame = classified.parts["class"].dropna(subset="gain")
    shown = sorted(text.get_text() for text in classes.texts)
    assert shown == sorted(f"{gain:+.1f}" for gain in frame["gain"])
    write_breakdown(ablation, classified, [Path("out/per_class.png")])
    assert Path("out/per_class.png").stat().st_size > 10_000
