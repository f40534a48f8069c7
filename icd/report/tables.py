"""Tables for readers and for programs, rendered from the raw numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pandas as pd

from icd.experiments.ablation import Ablation
from icd.experiments.run import Cost, StepKey
from icd.files import atomic, write_text
from icd.report.html import html
from icd.report.latex import typeset
from icd.report.notes import paragraphs
from icd.report.results import DONE, Results
from icd.report.statistics import Estimate
from icd.report.summary import METRICS, Line, Summary, summarise


def write_tables(
    ablation: Ablation, results: Results, folder: Path, costs: Mapping[StepKey, Cost] | None = None
) -> None:
    """Write ``table.md``, ``.html``, ``.csv`` and ``.tex`` of an ablation into a folder."""
    summary = summarise(ablation, results, costs)
    write_text(folder / "table.md", markdown(summary))
    write_text(folder / "table.html", html(markdown(summary)))
    write_text(folder / "table.tex", latex(summary))
    with atomic(folder / "table.csv") as temporary:
        numbers(summary).to_csv(temporary, index=False)


def markdown(summary: Summary) -> str:
    """Title, question, table and notes."""
    ablation = summary.ablation
    table = aligned(*cells(summary))
    parts = [f"# {ablation.title}", ablation.question, table, *paragraphs(summary)]
    return "\n\n".join(parts) + "\n"


def latex(summary: Summary) -> str:
    """The same in LaTeX."""
    return typeset(summary.ablation, *cells(summary), paragraphs(summary))


def numbers(summary: Summary) -> pd.DataFrame:
    """The table unformatted and unrounded, in percent; what there is not is empty."""
    return pd.DataFrame([_numbers(line) for line in summary.lines], dtype=object)


def _numbers(line: Line) -> dict[str, Any]:
    found: dict[str, Any] = {"row": line.row.id, "label": line.row.label, "state": line.state}
    found |= {"seeds": line.done, "planned_seeds": len(line.row.runs)}
    for metric, values in line.metrics.items():
        found[metric] = mean(values) if values else None
        found[f"{metric}_sd"] = stdev(values) if len(values) > 1 else None
    for name, value in (("gain", line.gain), ("difference", line.difference)):
        low, high = (value and value.interval) or (None, None)
        found |= {name: value and value.mean, f"{name}_low": low, f"{name}_high": high}
        found |= {f"{name}_seeds": value and value.seeds, f"{name}_images": value and value.images}
    source = line.row.published["source"] if line.row.published else None
    return found | {
        "published_AP": line.published,
        "published_gain": line.published_gain,
        "published_source": source,
        "time": line.cost and line.cost.time,
        "memory": line.cost and line.cost.memory,
    }


def cells(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Header and body as text."""
    ablation = summary.ablation
    header = ["", *METRICS, "seeds", f"gain {summary.over} [95 %]"]
    header += [f"difference {summary.to} [95 %]"] if ablation.references else []
    header += ["published AP", "published gain"]
    header += ["time", "MiB"] if ablation.costs else []
    return header, [_cells(line, summary) for line in summary.lines]


def _cells(line: Line, summary: Summary) -> list[str]:
    planned, reference = len(line.row.runs), summary.ablation.reference_of(line.row)
    found = [
        line.row.label,
        *(spread(values) if line.state == DONE else line.state for values in line.metrics.values()),
        str(planned) if line.done == planned else f"{line.done} of {planned}",
        _compared(line, summary.line(line.baseline.id), line.gain),
    ]
    if reference:
        found.append(_compared(line, summary.line(reference.id), line.difference))
    elif summary.ablation.references:
        found.append("")
    found += _published(line)
    return [*found, *_cost(line)] if summary.ablation.costs else found


def _compared(line: Line, other: Line, value: Estimate | None) -> str:
    """A difference, or why there is none."""
    if line is other:
        return ""
    if line.state != DONE:
        return line.state
    if other.state != DONE:
        return f"{other.row.label} {other.state}"
    if value is None:
        return "no common seed" if line.metrics["AP"] and other.metrics["AP"] else "-"
    return signed(value)


def spread(values: list[float]) -> str:
    """Mean and sample standard deviation, e.g. ``26.7 ± 0.9``; a lone value has no spread."""
    if not values:
        return "-"
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def signed(value: Estimate) -> str:
    """A difference with its interval, e.g. ``+0.3 [-0.2, +0.8] undecided``."""
    text = f"{value.mean:+.1f}"
    if value.interval is None:
        return text
    low, high = value.interval
    return f"{text} [{low:+.1f}, {high:+.1f}]" + " undecided" * value.undecided


def _published(line: Line) -> tuple[str, str]:
    """The paper's AP of a row and its gain over the paper's baseline, where it gives them."""
    if line.published is None:
        return "-", "" if line.is_baseline else "-"
    own = f"{line.published:.1f}"
    if line.is_baseline:
        return own, ""
    return own, "-" if line.published_gain is None else f"{line.published_gain:+.1f}"


def _cost(line: Line) -> tuple[str, str]:
    """Time ratio and memory of a row's method."""
    return (f"{line.cost.time:.2f}", f"{line.cost.memory:.0f}") if line.cost else ("-", "-")


def aligned(header: list[str], body: list[list[str]]) -> str:
    """A Markdown table whose source is aligned as well."""
    header, *body = ([cell.replace("|", r"\|") for cell in row] for row in (header, *body))
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]

    def line(cells: list[str]) -> str:
        first, *rest = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join([first, *rest]) + " |"

    rule = "|:" + "-" * widths[0] + "-|" + "|".join("-" * (w + 1) + ":" for w in widths[1:]) + "|"
    return "\n".join([line(header), rule, *map(line, body)])
