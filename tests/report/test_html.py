"""Markdown as HTML pages."""

from __future__ import annotations

from icd.report.html import html

TABLE = "# Title & more\n\nWhy?\n\n| a | b |\n|:--|--:|\n| x | <1 |\n"


def test_a_table_becomes_a_page_of_its_own():
    text = html(TABLE)
    assert "<h1>Title &amp; more</h1>" in text
    assert ">x</td>" in text
    assert "&lt;1</td>" in text
    assert "http" not in text, "self-contained"
