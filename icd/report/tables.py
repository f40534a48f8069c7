"""Tables for readers and for programs, rendered from the raw numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from math import isnan
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pandas as pd

from icd.experiments.ablation import Ablation
from icd.experiments.run import Cost, StepKey
from icd.files import write_csv, write_text
from icd.markdown import html, table
from icd.report.deployment import Deployment
from icd.report.diagnosis import DecoderDiagnosis
from icd.report.intervals import Estimate
from icd.report.latex import typeset
from icd.report.notes import paragraphs
from icd.report.results import DONE, Results
from icd.report.summary import METRICS, Entry, Summary, summarise

DECODER = {
    "effective_tokens": "effective tokens",
    "inside": "attention in boxes (their area)",
    "recognised": "recognised / mistaken",
}
DEPLOYMENT = {
    "parameters": "M parameters",
    "flops": "GFLOPs",
    "milliseconds": "ms",
    "megabytes": "MB",
}


def write_tables(
    ablation: Ablation, results: Results, folder: Path, costs: Mapping[StepKey, Cost] | None = None
) -> None:
    """Write ``table.md``, ``.html``, ``.csv`` and ``.tex`` of an ablation into a folder."""
    summary = summarise(ablation, results, costs)
    write_text(folder / "table.md", markdown(summary))
    write_text(folder / "table.html", html(markdown(summary)))
    write_text(folder / "table.tex", latex(summary))
    write_csv(folder / "table.csv", numbers(summary))


def markdown(summary: Summary) -> str:
    """Title, question, table and notes."""
    ablation = summary.ablation
    parts = [f"# {ablation.title}", ablation.question, table(*cells(summary))]
    parts += paragraphs(summary)
    return "\n\n".join(parts) + "\n"


def latex(summary: Summary) -> str:
    """The same in LaTeX."""
    return typeset(summary.ablation, *cells(summary), paragraphs(summary))


def numbers(summary: Summary) -> pd.DataFrame:
    """The table unformatted and unrounded, in percent; missing values are empty."""
    records = [_numbers(entry) for entry in summary.entries]
    for record, entry in zip(records, summary.entries, strict=True):
        if summary.is_diagnosed:
            record |= _fields(entry.decoder, DecoderDiagnosis)
        if summary.is_deployed:
            record |= _fields(entry.deployment, Deployment)
    return pd.DataFrame(records, dtype=object)


def _fields(measured: DecoderDiagnosis | Deployment | None, kind: type[Any]) -> dict[str, Any]:
    """The values of a row by name, all missing if it was not measured."""
    return {one.name: measured and getattr(measured, one.name) for one in fields(kind)}


def _numbers(entry: Entry) -> dict[str, Any]:
    record: dict[str, Any] = {"row": entry.row.id, "label": entry.row.label, "state": entry.state}
    record |= {"seeds": entry.done, "planned_seeds": len(entry.row.runs)}
    for metric, values in entry.metrics.items():
        record[metric] = mean(values) if values else None
        record[f"{metric}_sd"] = stdev(values) if len(values) > 1 else None
    for name, value in (("gain", entry.gain), ("difference", entry.difference)):
        low, high = (value and value.interval) or (None, None)
        record |= {name: value and value.mean, f"{name}_low": low, f"{name}_high": high}
        record |= {f"{name}_seeds": value and value.seeds, f"{name}_images": value and value.images}
        record |= {f"{name}_p": value and value.p, f"{name}_detectable": value and value.detectable}
    source = entry.row.published.source if entry.row.published else None
    return record | {
        "published_AP": entry.published,
        "published_gain": entry.published_gain,
        "published_source": source,
        "time": entry.cost and entry.cost.time,
        "memory": entry.cost and entry.cost.memory,
    }


def columns(summary: Summary) -> dict[str, str]:
    """Headings of the columns by key, in order; the first column has the labels of rows."""
    ablation = summary.ablation
    headings = {"label": ""} | {metric: metric for metric in METRICS}
    headings |= {"seeds": "seeds", "gain": f"gain {summary.over} [95 %]"}
    if ablation.references:
        headings["difference"] = f"difference {summary.to} [95 %]"
    headings |= {"published": "published AP", "published_gain": "published gain"}
    headings |= {"time": "time", "memory": "MiB"} if ablation.costs else {}
    headings |= DECODER if summary.is_diagnosed else {}
    return headings | (DEPLOYMENT if summary.is_deployed else {})


def cells(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Header and body as text."""
    return [*columns(summary).values()], [_cells(entry, summary) for entry in summary.entries]


def _cells(entry: Entry, summary: Summary) -> list[str]:
    planned, reference = len(entry.row.runs), summary.ablation.reference_of(entry.row)
    cells = [
        entry.row.label,
        *(
            spread(values) if entry.state == DONE else entry.state
            for values in entry.metrics.values()
        ),
        str(planned) if entry.done == planned else f"{entry.done} of {planned}",
        _compared(entry, summary.entry(entry.baseline.id), entry.gain),
    ]
    if reference:
        cells.append(_compared(entry, summary.entry(reference.id), entry.difference))
    elif summary.ablation.references:
        cells.append("")
    cells += _published(entry)
    cells += _cost(entry) if summary.ablation.costs else ()
    cells += _decoder(entry) if summary.is_diagnosed else ()
    return [*cells, *_deployment(entry)] if summary.is_deployed else cells


def _compared(entry: Entry, other: Entry, value: Estimate | None) -> str:
    """A difference, or why there is none."""
    if entry is other:
        return ""
    if entry.state != DONE:
        return entry.state
    if other.state != DONE:
        return f"{other.row.label} {other.state}"
    if value is None:
        return "no common seed" if entry.metrics["AP"] and other.metrics["AP"] else "-"
    return signed(value)


def spread(values: list[float]) -> str:
    """Mean and sample standard deviation, e.g. ``26.7 ± 0.9``; of two values, both of them."""
    if not values:
        return "-"
    text = f"{mean(values):.1f}"
    if len(values) == 2:
        return f"{text} ({values[0]:.1f}, {values[1]:.1f})"
    return text + (f" ± {stdev(values):.1f}" if len(values) > 2 else "")


def signed(value: Estimate) -> str:
    """A difference with its interval, e.g. ``+0.3 [-0.2, +0.8] inconclusive``."""
    text = f"{value.mean:+.1f}"
    if value.interval is None:
        return text
    low, high = value.interval
    return f"{text} [{low:+.1f}, {high:+.1f}]" + " inconclusive" * value.inconclusive


def _published(entry: Entry) -> tuple[str, str]:
    """The paper's AP of a row and its gain over the paper's baseline, where it gives them."""
    if entry.published is None:
        return "-", "" if entry.is_baseline else "-"
    own = f"{entry.published:.1f}"
    if entry.is_baseline:
        return own, ""
    return own, "-" if entry.published_gain is None else f"{entry.published_gain:+.1f}"


def _cost(entry: Entry) -> tuple[str, str]:
    """Time ratio and memory of a row's method."""
    return (f"{entry.cost.time:.2f}", f"{entry.cost.memory:.0f}") if entry.cost else ("-", "-")


def _deployment(entry: Entry) -> tuple[str, ...]:
    """How large and how fast a row's detector is."""
    if (found := entry.deployment) is None:
        return ("-",) * len(DEPLOYMENT)
    exported = (found.milliseconds, found.megabytes)
    return (
        f"{found.parameters / 1e6:.2f}",
        f"{found.flops / 1e9:.2f}",
        *("-" if value is None else f"{value:.1f}" for value in exported),
    )


def _decoder(entry: Entry) -> tuple[str, ...]:
    """Where a row's decoder looks and what it recognises."""
    if (found := entry.decoder) is None:
        return ("-",) * len(DECODER)
    return (
        f"{found.effective_tokens:.0f} ({percent(found.effective)})",
        f"{percent(found.inside)} ({percent(found.boxes)})",
        f"{percent(found.recognised)} / {percent(found.mistaken)}",
    )


def percent(share: float) -> str:
    """A share as a percentage; ``-`` for NaN."""
    return "-" if isnan(share) else f"{100 * share:.0f} %"
