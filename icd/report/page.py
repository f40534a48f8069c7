"""The results of a track on one page, from the tables and figures that are there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path

from icd.experiments.track import Track
from icd.files import write_text
from icd.markdown import table
from icd.report.answers import EXPLAINED, answers
from icd.report.answers import HEADER as HEADER_OF_ANSWERS
from icd.report.existing import Table, Tables
from icd.report.notes import tau
from icd.report.statistics import Agreement

COST = "What distillation costs"
FIGURES = "Figures"
GENERATED = "The pipeline generates this page from the raw numbers beside it. Do not edit it."
KEPT = (
    " Each folder also holds the table as CSV and LaTeX. `manifests/` has the provenance of every "
    "run."
)
OUTDATED = (
    "Not shown, because these tables were measured on other annotations than those that "
    "`data.json` describes: {}. `snakemake NAME` measures them again."
)
CLAIM = (
    "Does our order of the rows agree with the published one? All columns count the rows that have "
    "both values. tau: Kendall's tau of the mean AP, with its 95 % interval over seeds and images. "
    "In published order: how many of the pairs that our intervals find significant have the "
    "published order. The last two columns leave out the baselines, because their pairs often only "
    "show that distillation helps. Findings stand below each table."
)
HEADER = ["", "rows", "tau", "in published order", "tau, no baselines", "in published order"]


def write_page(track: Track, tables: Tables, figures: Mapping[str, str]) -> None:
    """Write ``README.md`` into the track's folder of results; see :func:`page`."""
    write_text(track.results / "README.md", page(track, tables, figures))


def page(track: Track, tables: Tables, figures: Mapping[str, str]) -> str:
    """Every table that is there with its figure, the main table first; then further figures.

    Args:
        track: whose results these are.
        tables: those that exist.
        figures: captions of further figures that may be there, by their path without suffix,
            relative to the track's results.
    """
    shown, outdated = tables.shown, tables.outdated
    drawn = {
        name: text for name, text in figures.items() if (track.results / f"{name}.png").is_file()
    }
    cost = track.results / "cost/table.md"
    others = [FIGURES] * bool(drawn) + [COST] * cost.is_file()
    parts = [
        f"# Results on the track {track.name}: {track.content.title}",
        GENERATED + KEPT * bool(shown),
        *([OUTDATED.format(", ".join(outdated))] if outdated else []),
        *_answers(shown),
        *([_overview(shown), CLAIM] if shown else []),
        *([" · ".join(map(_link, others))] if others else []),
        *map(_section, shown),
    ]
    if drawn:
        parts.append(f"## {FIGURES}")
        parts += [f"{text}\n\n![{Path(name).name}]({name}.png)" for name, text in drawn.items()]
    if cost.is_file():
        parts.append(f"{_nested(cost)}\n\n![{COST}](cost/figure.png)")
    return "\n\n".join(parts) + "\n"


def _answers(tables: Sequence[Table]) -> list[str]:
    """What the tables answer, with a text that explains it; nothing without any answer."""
    body = [
        [f"[{question}](#{heading_anchor(one.ablation.title)})", *cells]
        for one in tables
        for question, *cells in (
            answer.cells for answer in answers(one.summary, one.ablation.answers)
        )
    ]
    return [table(HEADER_OF_ANSWERS, body, text=True), EXPLAINED] if body else []


def _overview(tables: Sequence[Table]) -> str:
    """The question of each table, and how far its order agrees with the paper's."""
    body = [
        [f"{_link(one.ablation.title)}: {one.ablation.question}", *_agreement(one)]
        for one in tables
    ]
    return table(HEADER, body)


def _agreement(one: Table) -> list[str]:
    """The cells of a table under all of HEADER but the first."""
    rows = str(one.summary.order.rows) if one.summary.order else "-"
    return [rows, *_order(one.summary.order), *_order(one.summary.order_distilled)]


def _order(order: Agreement | None) -> list[str]:
    if order is None or isnan(order.tau):
        return ["-", "-"]
    return [tau(order), f"{order.same} of {order.significant}"]


def _link(title: str) -> str:
    return f"[{title}](#{heading_anchor(title)})"


def _section(one: Table) -> str:
    name, title = one.ablation.name, one.ablation.title
    parts = [_nested(one.folder / "table.md"), f"![{title}]({name}/figure.png)"]
    classes = one.results.parts.get("class")
    if classes is not None and len(classes):
        parts.append(f"![{title}: gains by size and class]({name}/per_class.png)")
    if one.ablation.costs:
        parts.append(f"![{title}: accuracy against cost]({name}/tradeoff.png)")
    return "\n\n".join(parts)


def _nested(file: Path) -> str:
    """A table's page as a section of another."""
    return re.sub(r"^# ", "## ", file.read_text()).strip()


def heading_anchor(title: str) -> str:
    """The anchor that code hosts give to a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
