"""The figure of a table."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path

from icd.experiments.ablation_content import Axis
from icd.report.figure import write_figures
from icd.report.results import read_results
from icd.report.summary import summarise
from tests.report.small_table import ROWS


def test_equal_numbers_give_equal_figures(ablation, content, results):
    first, again, other = ([Path(f"{name}{kind}") for kind in (".svg", ".png")] for name in "abc")
    write_figures(ablation, results, first)
    write_figures(ablation, read_results(Path("out")), again)
    records = results.records.assign(value=results.records.value / 2)
    write_figures(ablation, replace(results, records=records), other)
    for one, two, three in zip(first, again, other, strict=True):
        assert one.read_bytes() == two.read_bytes()
        assert one.read_bytes() != three.read_bytes()


def test_the_figure_names_rows_and_values(ablation, results):
    write_figures(ablation, results, [Path("figure.svg")])
    svg = Path("figure.svg").read_text()
    means = [statistics.mean(entry.metrics["AP"]) for entry in summarise(ablation, results).entries]
    for text in ("A title", "AP (%)", "one seed", "paper, on COCO", "gain in AP", "over Student"):
        assert f">{text}</text>" in svg
    for text in (*(f"{mean:.1f}" for mean in means), *(label for label, _, _ in ROWS.values())):
        assert f">{text}</text>" in svg


def test_a_figure_may_be_drawn_against_an_option(ablation, results):
    rows = tuple(replace(r, x=x) for r, x in zip(ablation.rows, (3, None, 2, 1), strict=True))
    table = replace(ablation, rows=rows, axis=Axis(label="Decoder layers"))
    write_figures(table, results, [Path("figure.svg")])
    svg = Path("figure.svg").read_text()
    for text in ("Decoder layers", "AP (%)", "published AP (%)", "Student", "paper, on COCO"):
        assert f">{text}</text>" in svg
    bare = tuple(replace(r, published=None) for r in rows)
    write_figures(replace(table, rows=bare), results, [Path("figure.svg")])
    assert "published AP" not in Path("figure.svg").read_text()


def test_a_dollar_in_a_text_is_a_dollar(ablation, results):
    text = "Price $5_{ and $6"
    rows = tuple(replace(r, label=f"{text} {r.id}", x=i) for i, r in enumerate(ablation.rows))
    for axis in (None, Axis(label=text)):
        table = replace(ablation, rows=rows, title=text, axis=axis)
        write_figures(table, results, [Path("figure.svg"), Path("figure.png")])
        assert f">{text}</text>" in Path("figure.svg").read_text()
