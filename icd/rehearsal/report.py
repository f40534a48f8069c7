"""The table of rehearsals by kind: what passed, what it costs, how long the planned runs take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from icd.experiments.kind import Kind
from icd.experiments.rehearsals import Rehearsed, file_of, folder, read_rehearsed
from icd.experiments.track import Track
from icd.files import write_csv, write_text
from icd.markdown import table

COLUMNS = ("kind", "machine", "result", "s / iteration", "loading", "GPU MiB", "host MiB", "runs")
NOTE = (
    "Seconds per iteration: median after warm-up. Loading: share of the time spent waiting for"
    " images. Host MiB: peak memory of all processes of a run, without the annotations of the whole"
    " data set. Hours: all planned runs of the kind, one after another."
)


def write_report(track: Track, asked: Sequence[Kind], every: Sequence[Kind]) -> str:
    """Write ``rehearsal.csv`` and ``table.md``; returns a line that sums up.

    Args:
        asked: kinds to report even if they were not rehearsed.
        every: all kinds of the track, with all their planned runs.
    """
    named = {kind.id for kind in asked}
    kinds = [kind for kind in every if kind.id in named or file_of(track, kind.id).exists()]
    lines = list(raw_lines(track, kinds))
    write_csv(folder(track) / "rehearsal.csv", pd.DataFrame(lines))
    summary = in_short(lines)
    rows = [_cells(line) for line in lines]
    text = [
        f"# Rehearsal of {track.name}",
        table((*COLUMNS, "hours"), rows),
        NOTE,
        summary,
    ]
    write_text(folder(track) / "table.md", "\n\n".join(text) + "\n")
    return summary


def raw_lines(track: Track, kinds: Sequence[Kind]) -> Iterator[dict[str, Any]]:
    """One line for each kind and machine, unrounded; a kind without a rehearsal has one line."""
    for kind in kinds:
        found = read_rehearsed(file_of(track, kind.id)).values()
        for outcome in found or [None]:
            yield _line(kind, outcome)


def _line(kind: Kind, outcome: Rehearsed | None) -> dict[str, Any]:
    iterations = sum(run.iterations for run in kind.runs)
    values = outcome.model_dump(exclude={"iterations"}) if outcome else {}
    seconds = values.get("seconds_per_iteration")
    return {
        "kind": kind.id,
        "label": kind.label,
        **{name: values.get(name) for name in Rehearsed.model_fields if name != "iterations"},
        "runs": len(kind.runs),
        "planned_iterations": iterations,
        "hours": seconds and seconds * iterations / 3600,
    }


def _cells(line: dict[str, Any]) -> list[str]:
    failure = f"**failed**: {line['failure']} (`{line['log']}`)"
    result = "passed" if line["failure"] is None else failure
    return [
        line["label"],
        line["machine"] or "-",
        result if line["machine"] else "not rehearsed",
        *(
            _number(line[name], form)
            for name, form in (
                ("seconds_per_iteration", ".3g"),
                ("loading", ".0%"),
                ("gpu_mib", ".0f"),
                ("host_mib", ".0f"),
            )
        ),
        str(line["runs"]),
        _number(line["hours"], ".1f"),
    ]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def in_short(lines: Sequence[dict[str, Any]]) -> str:
    """How many kinds passed, failed or were not rehearsed."""
    tried = [line for line in lines if line["machine"]]
    failed = sum(line["failure"] is not None for line in tried)
    text = f"{len(tried) - failed} rehearsals passed, {failed} failed"
    missing = len(lines) - len(tried)
    return text + (f", {missing} kinds were not rehearsed." if missing else ".")
