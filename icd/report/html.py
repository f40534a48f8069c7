"""Markdown as HTML pages, for Snakemake's report."""

from __future__ import annotations

from markdown_it import MarkdownIt

STYLE = """body{font:14px/1.5 sans-serif;margin:2em}
p{max-width:60em}
table{border-collapse:collapse}
th,td{padding:.25em .5em;border-bottom:1px solid #ccc}
th{vertical-align:bottom}
td{white-space:nowrap}"""


def html(markdown: str) -> str:
    """A page of its own from a table's Markdown."""
    body = MarkdownIt("commonmark").enable("table").render(markdown)
    head = f'<meta charset="utf-8"><style>{STYLE}</style>'
    return f"<!DOCTYPE html>\n<html><head>{head}</head>\n<body>\n{body}</body></html>\n"
