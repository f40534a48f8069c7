"""The page as one HTML file: template, styles, scripts, a library for figures, and packed data."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from icd.experiments.track import Track
from icd.files import write_text
from icd.report.answers import EXPLAINED, HEADER
from icd.report.existing import Tables
from icd.web.content import Content, content
from icd.web.gathered import ATTENTION, DETECTIONS, IMAGES, PARTS

LIMIT = 15_000_000  # bytes of a page
FOLDER = Path(__file__).parent
STYLES = ("base", "layout", "tables", "controls", "figures", "images", "dialog")
# All are one script, so that they see each other without a server. The last one starts the page.
SCRIPTS = (
    "dom",
    "data",
    "format",
    "theme",
    "sorting",
    "roving",
    "plot",
    "picker",
    "provenance",
    "gains",
    "parts",
    "curves",
    "precision",
    "gallery",
    "attention",
    "detections",
    "runs",
    "views",
    "start",
)
TITLES = {
    "curves": "Training curves",
    "precision": "Precision and recall",
    "attention": "Attention",
    "detections": "Detections",
}
NOT_GATHERED = (
    "Nothing to show here: this needs the runs themselves, and none of them was on the machine that"
    " made this page. Where they are, <code>snakemake page</code> gathers what is missing."
)
TOO_LARGE = "Left out, because the page would be larger than 15 MB with it."


def write_page(track: Track, tables: Tables) -> None:
    """Write ``index.html`` into the track's folder of results."""
    write_text(track.results / "index.html", page(content(track, tables)))


def page(shown: Content) -> str:
    """The page, without the largest parts if it would be too large with them."""
    core = {
        "track": shown.track,
        "tables": [asdict(table) for table in shown.tables],
        "runs": {name: asdict(run) for name, run in shown.runs.items()},
    }
    fixed = {"core": pack(core), "plotly": packed_library()}
    parts = {part: pack(shown.parts[part]) for part in PARTS}
    why = {part: "" if shown.parts[part] else NOT_GATHERED for part in PARTS}
    while len(text := render(shown, fixed | parts, why)) > LIMIT and not all(why.values()):
        largest = max(parts, key=lambda part: len(parts[part]))
        parts[largest], why[largest] = pack({}), TOO_LARGE
    return text


def render(shown: Content, packed: Mapping[str, str], why: Mapping[str, str]) -> str:
    """The page as HTML.

    Args:
        shown: its content.
        packed: the data of its scripts by name.
        why: for each empty part, why there is nothing to show.
    """
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["markup"] = Markup
    without_images = {part: why[part] or why[IMAGES] for part in (ATTENTION, DETECTIONS)}
    return environment.get_template("page.html").render(
        page=shown,
        titles=TITLES,
        answer_header=HEADER,
        answers_explained=EXPLAINED,
        why={**why, **without_images},
        styles=Markup(_joined(STYLES, "css")),
        scripts=Markup(_joined(SCRIPTS, "js")),
        packed={name: Markup(text) for name, text in packed.items()},
    )


@cache
def packed_library() -> str:
    """The library that draws the figures."""
    return pack_text(get_plotlyjs())


def pack(value: Any) -> str:
    """JSON, packed."""
    return pack_text(json.dumps(value, allow_nan=False, separators=(",", ":")))


def pack_text(text: str) -> str:
    """A text as base64 of gzip, which browsers unpack; equal texts give equal results."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def unpack_text(text: str) -> str:
    """The inverse of :func:`pack_text`."""
    return gzip.decompress(base64.b64decode(text)).decode()


def _joined(names: tuple[str, ...], suffix: str) -> str:
    folder = FOLDER / "static"
    return "\n".join((folder / f"{name}.{suffix}").read_text() for name in names)
