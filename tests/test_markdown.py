"""Markdown tables, and Markdown as HTML pages."""

from __future__ import annotations

from icd.markdown import html, table


def test_markdown_is_aligned_in_its_source() -> None:
    lines = table(["", "AP"], [["a long label", "1.0"], ["a|b", "10.0 ± 2.0"]]).splitlines()
    assert lines == [
        "|              |         AP |",
        "|:-------------|-----------:|",
        "| a long label |        1.0 |",
        r"| a\|b         | 10.0 ± 2.0 |",
    ]


def test_numbers_stay_as_they_are_written() -> None:
    text = table(["name", "n"], [["1.50", "0.10"], ["", "1e3"]])
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:]]
    assert cells == [["1.50", "0.10"], ["", "1e3"]]


def test_a_table_becomes_a_page_of_its_own() -> None:
    text = html("# Title & more\n\nWhy?\n\n" + table(["a", "b"], [["x", "<1"]]))
    assert "<h1>Title &amp; more</h1>" in text
    assert ">x</td>" in text
    assert "&lt;1</td>" in text
    assert "http" not in text, "self-contained"
