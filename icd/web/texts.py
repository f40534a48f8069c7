"""Markdown of notes as HTML for the page; HTML in it stays text."""

from __future__ import annotations

from markdown_it import MarkdownIt

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")


def html(markdown: str) -> str:
    """Some Markdown as HTML."""
    return str(_MARKDOWN.render(markdown)).strip()
