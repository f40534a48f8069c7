"""An ablation: a table of the paper as data, expanded to the runs it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icd.errors import InputError
from icd.suite.run import Run, merge
from icd.suite.schema import ROOT, load_yaml
from icd.suite.track import Track

FOLDER = ROOT / "ablations"


@dataclass(frozen=True)
class Row:
    """One line of a table: the runs it averages over, one per seed, and the published value.

    absent: why the track cannot have this row, which then has no runs.
    baseline: id of the row its gain is measured against, if not the table's.
    x: its place on the figure's axis.
    """

    id: str
    label: str
    runs: tuple[Run, ...]
    published: dict[str, Any] | None
    absent: str | None = None
    baseline: str | None = None
    x: float | None = None


@dataclass(frozen=True)
class Ablation:
    """A table on a track.

    reference: id of a second row that all are compared with, e.g. the complete method.
    findings: what came out, in words.
    figure: ``{"x": option, "label": text}`` for AP against an option; else bars and gains.
    """

    name: str
    title: str
    question: str
    notes: str
    baseline: str
    rows: tuple[Row, ...]
    kind: str = "bbox"  # whose AP the table shows; segm: that of masks
    reference: str | None = None
    findings: str = ""
    figure: dict[str, Any] | None = None

    def row(self, name: str) -> Row:
        """The row of this id."""
        return next(row for row in self.rows if row.id == name)

    def baseline_of(self, row: Row) -> Row:
        """The row that the gain of ``row`` is measured against."""
        return self.row(row.baseline or self.baseline)

    @property
    def runs(self) -> list[Run]:
        """The runs of all rows and the teachers they learn from, each once."""
        found: dict[str, Run] = {}
        for row in self.rows:
            for run in row.runs:
                for needed in filter(None, (run.teacher, run)):
                    found.setdefault(needed.id, needed)
        return list(found.values())


def ablation_names() -> list[str]:
    """Names of all ablations, each a file of the folder ablations/."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_ablation(name: str, track: Track) -> Ablation:
    """The ablation ``ablations/<name>.yaml`` on a track."""
    file = FOLDER / f"{name}.yaml"
    if not file.is_file():
        raise InputError(name, "", "no such ablation", f"one of {ablation_names()}")
    return read_ablation(file, track)


def read_ablation(file: Path, track: Track) -> Ablation:
    """Expand an ablation file: every row on every seed of the track."""
    content = load_yaml(file, "ablation")
    ids = [row["id"] for row in content["rows"]]
    for name in ids:
        if ids.count(name) > 1:
            raise InputError(file, "rows", f"two rows have the id {name!r}", "different ids")
    if content["baseline"] not in ids:
        problem = f"{content['baseline']!r} is no row"
        raise InputError(file, "baseline", problem, f"one of {ids}")
    rows = tuple(_row(row, content.get("base", {}), track, file) for row in content["rows"])
    return Ablation(
        name=file.stem,
        title=content["title"],
        question=content["question"],
        notes=content.get("notes", ""),
        baseline=content["baseline"],
        rows=rows,
        kind=content.get("kind", "bbox"),
    )


def _row(row: dict[str, Any], base: dict[str, Any], track: Track, file: Path) -> Row:
    change = merge(base, row.get("change", {}))
    try:
        runs = {run.id: run for run in (track.describe(change, seed) for seed in track.seeds)}
    except InputError as error:
        problem = f"does not fit {error.where} ({error.key} {error.problem})"
        raise InputError(file, f"rows.{row['id']}", problem, error.expected) from error
    return Row(row["id"], row["label"], tuple(runs.values()), row.get("published"))
