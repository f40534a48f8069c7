"""An ablation: a table of the paper as data, expanded to the runs it needs."""

from __future__ import annotations

from collections.abc import Iterable
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
    """One line of a table: the runs it averages over, one per seed, and the published value."""

    id: str
    label: str
    runs: tuple[Run, ...]
    published: dict[str, Any] | None


@dataclass(frozen=True)
class Ablation:
    """A table on a track."""

    name: str
    title: str
    question: str
    notes: str
    baseline: str
    rows: tuple[Row, ...]
    kind: str = "bbox"  # whose AP the table shows; segm: that of masks

    @property
    def runs(self) -> list[Run]:
        """The runs of all rows and the teachers they learn from, each once."""
        found: dict[str, Run] = {}
        for row in self.rows:
            for run in row.runs:
                for needed in filter(None, (run.teacher, run)):
                    found.setdefault(needed.id, needed)
        return list(found.values())

    def choose(self, ids: Iterable[str]) -> list[Row]:
        """The rows of these ids, in their order.

        Raises:
            InputError: there is no such row.
        """
        rows = {row.id: row for row in self.rows}
        for name in ids:
            if name not in rows:
                file = FOLDER / f"{self.name}.yaml"
                raise InputError(file, "rows", f"has no row {name!r}", f"one beside {sorted(rows)}")
        return [rows[name] for name in ids]


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
