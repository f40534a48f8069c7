"""The results of a track on one page, from the tables and figures that are there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path

from icd.experiments.ablation import Ablation
from icd.experiments.track import Track
from icd.files import read_json, write_text
from icd.markdown import table
from icd.report.results import BOOTSTRAP_CSV, MEASURED_ON, RESULTS_CSV, read_results
from icd.report.statistics import Agreement
from icd.report.summary import summarise

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
    "both values. tau: Kendall's tau of the mean AP. In published order: how many of the pairs "
    "that our intervals find significant have the published order. The last two columns leave out "
    "the baselines, because their pairs often only show that distillation helps. Findings stand "
    "below each table."
)
HEADER = ["", "rows", "tau", "in published order", "tau, no baselines", "in published order"]


def write_page(track: Track, ablations: Sequence[Ablation], figures: Mapping[str, str]) -> None:
    """Write ``README.md`` into the track's folder of results; see :func:`page`."""
    write_text(track.results / "README.md", page(track, ablations, figures))


def page(track: Track, ablations: Sequence[Ablation], figures: Mapping[str, str]) -> str:
    """Every table that is there with its figure, the main table first; then further figures.

    Args:
        track: whose results these are.
        ablations: whose tables may be there.
        figures: captions of further figures that may be there, by their path without suffix,
            relative to the track's results.
    """
    there = [ablation for ablation in ablations if _is_there(track, ablation)]
    there.sort(key=lambda ablation: (ablation.name != "main", ablation.name))
    outdated = [ablation.name for ablation in there if _is_outdated(track, ablation)]
    shown = [ablation for ablation in there if ablation.name not in outdated]
    drawn = {
        name: text for name, text in figures.items() if (track.results / f"{name}.png").is_file()
    }
    cost = track.results / "cost/table.md"
    others = [FIGURES] * bool(drawn) + [COST] * cost.is_file()
    parts = [
        f"# Results on the track {track.name}: {track.content.title}",
        GENERATED + KEPT * bool(shown),
        *([OUTDATED.format(", ".join(outdated))] if outdated else []),
        *([_overview(track, shown), CLAIM] if shown else []),
        *([" · ".join(map(_link, others))] if others else []),
        *(_section(track, ablation) for ablation in shown),
    ]
    if drawn:
        parts.append(f"## {FIGURES}")
        parts += [f"{text}\n\n![{Path(name).name}]({name}.png)" for name, text in drawn.items()]
    if cost.is_file():
        parts.append(f"{_nested(cost)}\n\n![{COST}](cost/figure.png)")
    return "\n\n".join(parts) + "\n"


def _overview(track: Track, ablations: Sequence[Ablation]) -> str:
    """The question of each table, and how far its order agrees with the paper's."""
    body = [
        [f"{_link(ablation.title)}: {ablation.question}", *_agreement(track, ablation)]
        for ablation in ablations
    ]
    return table(HEADER, body)


def _agreement(track: Track, ablation: Ablation) -> list[str]:
    """The cells of a table under all of HEADER but the first."""
    summary = summarise(ablation, read_results(track.results / ablation.name))
    rows = str(summary.order.rows) if summary.order else "-"
    return [rows, *_order(summary.order), *_order(summary.order_distilled)]


def _order(order: Agreement | None) -> list[str]:
    if order is None or isnan(order.tau):
        return ["-", "-"]
    return [f"{order.tau:+.2f}", f"{order.same} of {order.significant}"]


def _link(title: str) -> str:
    return f"[{title}](#{heading_anchor(title)})"


def _section(track: Track, ablation: Ablation) -> str:
    parts = [_nested(_table(track, ablation)), f"![{ablation.title}]({ablation.name}/figure.png)"]
    classes = read_results(track.results / ablation.name).parts.get("class")
    if classes is not None and len(classes):
        title = f"{ablation.title}: gains by size and class"
        parts.append(f"![{title}]({ablation.name}/per_class.png)")
    if ablation.costs:
        title = f"{ablation.title}: accuracy against cost"
        parts.append(f"![{title}]({ablation.name}/tradeoff.png)")
    return "\n\n".join(parts)


def _nested(file: Path) -> str:
    """A table's page as a section of another."""
    return re.sub(r"^# ", "## ", file.read_text()).strip()


def _is_there(track: Track, ablation: Ablation) -> bool:
    """True for a table beside its raw numbers."""
    raw = (track.results / ablation.name / name for name in (RESULTS_CSV, BOOTSTRAP_CSV))
    return all(file.is_file() for file in (_table(track, ablation), *raw))


def _is_outdated(track: Track, ablation: Ablation) -> bool:
    """True if a table records other annotations of its split than the survey of the data."""
    survey, records = (
        track.results / "data.json",
        read_results(track.results / ablation.name).records,
    )
    if MEASURED_ON not in records or not survey.is_file():
        return False
    splits = read_json(survey, "what icd check writes").get("splits", {})
    present = splits.get(ablation.split, {}).get("sha256")
    return bool(set(records[MEASURED_ON].dropna()) - {present})


def _table(track: Track, ablation: Ablation) -> Path:
    return track.results / ablation.name / "table.md"


def heading_anchor(title: str) -> str:
    """The anchor that code hosts give to a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
