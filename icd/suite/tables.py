"""Tables for readers, rendered from the raw numbers."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from statistics import mean, stdev

import pandas as pd

from icd.files import write_text
from icd.suite.ablation import Ablation, Row
from icd.suite.results import KINDS, per_seed

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def write_table(ablation: Ablation, results: pd.DataFrame, output: Path) -> None:
    """Write an ablation's table as Markdown."""
    write_text(output, render(ablation, results))


def render(ablation: Ablation, results: pd.DataFrame) -> str:
    """Title, question, table and notes of an ablation as Markdown."""
    values = {metric: per_seed(results, metric, ablation.kind) for metric in METRICS}
    baseline = next(row for row in ablation.rows if row.id == ablation.baseline)
    header = [
        "",
        *METRICS,
        "seeds",
        f"gain over {baseline.label}",
        "published AP",
        "published gain",
    ]
    body = [
        [
            row.label,
            *(spread(values[metric].get(row.id, [])) for metric in METRICS),
            str(len(row.runs)),
            gain(
                values["AP"].get(row.id, []),
                values["AP"].get(baseline.id, []),
                row is baseline,
            ),
            *published(row, baseline),
        ]
        for row in ablation.rows
    ]
    teachers = {run.teacher.id for row in ablation.rows for run in row.runs if run.teacher}
    parts = [
        f"# {ablation.title}",
        ablation.question,
        markdown(header, body),
        f"{KINDS[ablation.kind]}AP in percent on the test split, "
        "mean ± standard deviation over the seeds"
        + (" (each with its own teacher)." if len(teachers) > 1 else "."),
        ablation.notes,
        sources(ablation),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def spread(values: list[float]) -> str:
    """Mean and sample standard deviation, e.g. ``26.7 ± 0.9``; a lone value has no spread."""
    measured = known(values)
    if not measured:
        return "-"
    return f"{mean(measured):.1f}" + (f" ± {stdev(measured):.1f}" if len(measured) > 1 else "")


def gain(values: list[float], baseline: list[float], is_baseline: bool) -> str:
    """Difference of the means, signed; empty for the baseline itself."""
    measured, reference = known(values), known(baseline)
    if is_baseline:
        return ""
    return f"{mean(measured) - mean(reference):+.1f}" if measured and reference else "-"


def known(values: list[float]) -> list[float]:
    """The values that are there; a metric without any ground truth is NaN."""
    return [value for value in values if not isnan(value)]


def published(row: Row, baseline: Row) -> tuple[str, str]:
    """The paper's AP of a row and its gain over the paper's baseline, where it gives them."""
    if row.published is None:
        return "-", "-"
    value = row.published["AP"]
    if row is baseline or baseline.published is None:
        return f"{value:.1f}", ""
    return f"{value:.1f}", f"{value - baseline.published['AP']:+.1f}"


def sources(ablation: Ablation) -> str:
    """Where the published values come from, rows of the same source together."""
    labels: dict[str, list[str]] = {}
    for row in ablation.rows:
        if row.published:
            labels.setdefault(row.published["source"], []).append(row.label)
    named = [f"{', '.join(rows)} ({source})" for source, rows in labels.items()]
    return f"Published: {'; '.join(named)}." if named else ""


def markdown(header: list[str], body: list[list[str]]) -> str:
    """A Markdown table whose source is aligned as well."""
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]

    def line(cells: list[str]) -> str:
        first, *rest = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join([first, *rest]) + " |"

    rule = "|:" + "-" * widths[0] + "-|" + "|".join("-" * (w + 1) + ":" for w in widths[1:]) + "|"
    return "\n".join([line(header), rule, *map(line, body)])
