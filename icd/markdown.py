"""Markdown: tables whose source is aligned as well, and pages of it as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markdown_it import MarkdownIt
from tabulate import tabulate

STYLE = """body{font:14px/1.5 sans-serif;margin:2em}
p{max-width:60em}
table{border-collapse:collapse}
th,td{padding:.25em .5em;border-bottom:1px solid #ccc}
th{vertical-align:bottom}
td{white-space:nowrap}"""


def table(header: Sequence[str], body: Iterable[Sequence[str]], text: bool = False) -> str:
    """A table with its first column to the left and, unless they are text, others to the right."""
    return tabulate(
        [[_escaped(cell) for cell in row] for row in body],
        headers=[_escaped(cell) for cell in header],
        tablefmt="pipe",
        colalign=("left", *["left" if text else "right"] * (len(header) - 1)),
        disable_numparse=True,
    )


def _escaped(cell: str) -> str:
    return cell.replace("|", r"\|")


def html(markdown: str) -> str:
    """A self-contained HTML page, for Snakemake's report."""
    body = MarkdownIt("commonmark").enable("table").render(markdown)
    head = f'<meta charset="utf-8"><style>{STYLE}</style>'
    return f"<!DOCTYPE html>\n<html><head>{head}</head>\n<body>\n{body}</body></html>\n"
