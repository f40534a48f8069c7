"""An ablation: a table of the paper as data, expanded to the runs it needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from icd.errors import InputError
from icd.experiments.run import Run, merge
from icd.experiments.schema import ROOT, WORKFLOW, load_yaml, read_yaml
from icd.experiments.track import TEST, TUNE, Track, shipped_names
from icd.experiments.zoo import model as zoo_model

FOLDER = ROOT / "ablations"
# Sections of a track, and how a row names one of their entries.
NAMED = {"detectors": "detector", "backbones": "backbone", "methods": "method"}


@dataclass(frozen=True)
class Row:
    """One line of a table.

    runs: those it averages over, one per seed; none if the track cannot have the row.
    published: AP in the paper and its source; ``comparable`` is False if that has another recipe.
    baseline: id of the row its gain is measured against, if not the table's.
    reference: id of the row it is compared with besides, if not the table's.
    absent: why the track cannot have the row.
    x: its place in the figure that shows AP against a number.
    """

    id: str
    label: str
    runs: tuple[Run, ...]
    published: dict[str, Any] | None
    baseline: str | None = None
    absent: str | None = None
    x: float | None = None
    reference: str | None = None


@dataclass(frozen=True)
class Ablation:
    """A table on a track.

    baseline: id of the row that gains are measured against, if a row names no other.
    iou_type: whose AP the table shows, bbox (boxes) or segm (masks).
    split: on whose images it is measured.
    costs: what a step costs with each row's method is shown, too.
    reference: id of a row that all others are compared with besides.
    axis: ``label`` and ``scale`` of the axis against which AP is drawn, at each row's ``x``.
    figures: ids of the rows that each figure of what runs do shows, by the name of the figure.
    findings: what came out on this track, in words.
    """

    name: str
    title: str
    question: str
    notes: str
    baseline: str
    rows: tuple[Row, ...]
    iou_type: str = "bbox"
    reference: str | None = None
    axis: dict[str, str] | None = None
    findings: str = ""
    split: str = TEST
    costs: bool = False
    figures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def row(self, name: str) -> Row:
        """The row of this id."""
        return next(row for row in self.rows if row.id == name)

    def baseline_of(self, row: Row) -> Row:
        """The row that the gain of ``row`` is measured against."""
        return self.row(row.baseline or self.baseline)

    def reference_of(self, row: Row) -> Row | None:
        """The row that ``row`` is compared with besides, if the table has such."""
        name = row.reference or self.reference
        return None if name is None else self.row(name)

    @property
    def references(self) -> list[Row]:
        """The rows that others are compared with besides, each once."""
        found = {row.id: row for row in map(self.reference_of, self.rows) if row}
        return list(found.values())

    @property
    def measured(self) -> list[Run]:
        """The runs of all rows, each once."""
        return list({run.id: run for row in self.rows for run in row.runs}.values())

    @property
    def runs(self) -> list[Run]:
        """The runs of all rows and those whose weights they need before them, each once."""
        return with_sources(self.measured)

    def choose(self, ids: Iterable[str]) -> list[Row]:
        """The rows of these ids, in their order.

        Raises:
            InputError: there is no such row, or the track cannot have it.
        """
        rows, file = {row.id: row for row in self.rows}, FOLDER / f"{self.name}.yaml"
        for name in ids:
            if name not in rows:
                raise InputError(file, "rows", f"has no row {name!r}", f"one beside {sorted(rows)}")
            if reason := rows[name].absent:
                there = [row.id for row in self.rows if row.runs]
                problem = f"is needed, but absent: {reason}"
                raise InputError(file, f"rows.{name}", problem, f"one of {there}")
        return [rows[name] for name in ids]


def with_sources(runs: Iterable[Run]) -> list[Run]:
    """These runs and, before them, those whose weights they need, each once."""
    found: dict[str, Run] = {}
    for run in runs:
        _collect(run, found)
    return list(found.values())


def _collect(run: Run, found: dict[str, Run]) -> None:
    for source in run.sources:
        _collect(source, found)
    found.setdefault(run.id, run)


def ablation_names(track: Track | None = None) -> list[str]:
    """Names of all ablations, each a file of the folder ablations/, or of those of a track."""
    files = sorted(FOLDER.glob("*.yaml"))
    return [
        file.stem for file in files if track is None or _is_for(track, read_yaml(file, "ablation"))
    ]


def _is_for(track: Track, content: Any) -> bool:
    """False for a table that names the tracks which have it, another one's."""
    only = content.get("only") if isinstance(content, dict) else None
    return track.name in only if isinstance(only, list) else True


def load_ablation(name: str, track: Track) -> Ablation:
    """The ablation ``ablations/<name>.yaml`` on a track."""
    file = FOLDER / f"{name}.yaml"
    if not file.is_file():
        raise InputError(name, "", "no such ablation", f"one of {ablation_names()}")
    return read_ablation(file, track)


def read_ablation(file: Path, track: Track) -> Ablation:
    """Expand an ablation file: every row on the seeds of the track."""
    if file.stem in rule_names():
        problem = f"{file.stem!r} is the name of a rule of the pipeline"
        raise InputError(file, "", problem, "another name of the file")
    content = load_yaml(file, "ablation")
    if not _is_for(track, content):
        raise InputError(file, "only", f"leaves out the track {track.name}", str(content["only"]))
    ids = [row["id"] for row in content["rows"]]
    for name in ids:
        if ids.count(name) > 1:
            raise InputError(file, "rows", f"two rows have the id {name!r}", "different ids")
    _require_rows(content, ids, file)
    _require_places(content, file)
    _require_detector(content, track, file)
    rows = tuple(_row(row, content, track, file) for row in content["rows"])
    distilled = any(run.description.get("method") for row in rows for run in row.runs)
    return Ablation(
        name=file.stem,
        title=content["title"],
        question=content["question"],
        notes=content.get("notes", ""),
        baseline=content["baseline"],
        rows=rows,
        iou_type=content.get("iou_type", "bbox"),
        reference=content.get("reference"),
        axis=content.get("axis"),
        findings=content.get("findings", {}).get(track.name, ""),
        split=track.tuning_split if content.get("split") == TUNE else TEST,
        costs=content.get("costs", False) and distilled,
        figures={name: tuple(ids) for name, ids in content.get("figures", {}).items()},
    )


def require_runs(ablation: Ablation, track: Track) -> None:
    """Raise InputError unless the track can have a row of the table."""
    if ablation.measured:
        return
    reasons = dict.fromkeys(row.absent for row in ablation.rows)
    problem = f"the track {track.name} can have none of them ({'; '.join(reasons)})"
    there = (f"{section} {sorted(track.content[section])}" for section in NAMED)
    expected = f"a row of what the track has: {', '.join(there)}"
    raise InputError(FOLDER / f"{ablation.name}.yaml", "rows", problem, expected)


@cache
def rule_names() -> frozenset[str]:
    """Names of the pipeline's own rules, beside which each table has one of its name."""
    files = [ROOT / "Snakefile", *(WORKFLOW / "rules").glob("*.smk")]
    rule = re.compile(r"^ *(?:rule|use rule \w+ as) (\w+)(?: with)?:", re.M)
    return frozenset(name for file in files for name in rule.findall(file.read_text()))


def _require_rows(content: dict[str, Any], ids: list[str], file: Path) -> None:
    """Raise InputError unless all that name a row name one that is there."""
    named = {key: content[key] for key in ("baseline", "reference") if key in content}
    for place, row in enumerate(content["rows"]):
        for key in ("baseline", "reference"):
            if key in row:
                named[f"rows.{place}.{key}"] = row[key]
    for figure, names in content.get("figures", {}).items():
        named |= {f"figures.{figure}.{place}": name for place, name in enumerate(names)}
    for key, name in named.items():
        if name not in ids:
            raise InputError(file, key, f"{name!r} is no row", f"one of {ids}")


def _require_detector(content: dict[str, Any], track: Track, file: Path) -> None:
    """Raise InputError unless the published values are of a detector that some track has."""
    known = {*track.content["detectors"], *shipped_names("detectors")}
    if (detector := content.get("published_for")) not in (None, *known):
        problem = f"{detector!r} is no detector"
        raise InputError(file, "published_for", problem, f"one of {sorted(known)}")


def _require_places(content: dict[str, Any], file: Path) -> None:
    """Raise InputError unless the axis of the figure has places for rows."""
    if "axis" not in content:
        return
    places = {f"rows.{i}.x": row["x"] for i, row in enumerate(content["rows"]) if "x" in row}
    if not places:
        raise InputError(file, "axis", "no row has a place on it", "x in some of the rows")
    for key, place in places.items():
        if content["axis"].get("scale") == "log" and place <= 0:
            expected = "a number above 0, because axis.scale is log"
            raise InputError(file, key, f"is {place}", expected)


def _row(row: dict[str, Any], table: dict[str, Any], track: Track, file: Path) -> Row:
    here = row.get("tracks", {}).get(track.name, {})
    change = merge(merge(table.get("base", {}), row.get("change", {})), here.get("change", {}))
    absent = here.get("absent") or missing(change, track)
    seeds = [] if absent else track.seeds[: table.get("seeds", len(track.seeds))]
    try:
        runs = {run.id: run for run in (track.describe(change, seed) for seed in seeds)}
    except InputError as error:
        problem = f"does not fit {error.where} ({error.key} {error.problem})"
        raise InputError(file, f"rows.{row['id']}", problem, error.expected) from error
    runs = tuple(runs.values())
    return Row(
        id=row["id"],
        label=here.get("label", row["label"]),
        runs=runs,
        published=_stated(row, table, change, track)
        or _published(runs, table.get("iou_type", "bbox")),
        baseline=row.get("baseline"),
        absent=absent,
        x=row.get("x"),
        reference=row.get("reference"),
    )


def missing(change: dict[str, Any], track: Track) -> str | None:
    """What the row needs that other tracks have and this one has not.

    A name that no track has is a slip, which describing the run reports.
    """
    for part in (change, change.get("teacher", {})):
        for section, key in NAMED.items():
            name = part.get(key)
            if name and name not in track.content[section] and name in shipped_names(section):
                return f"the track has no {key} {name}"
    if "pretrained" in change and not track.pretrains(change):
        return "the track pre-trains nothing"
    if other := track.other_teacher(change):
        return f"the track's teacher is {other}"
    return None


def _stated(
    row: dict[str, Any], table: dict[str, Any], change: dict[str, Any], track: Track
) -> dict[str, Any] | None:
    """The published value that a row states, unless it is of another detector than the row here."""
    detector = table.get("published_for")
    other = detector and "detector" not in change and not track.is_of(detector, change)
    return None if other else row.get("published")


def _published(runs: tuple[Run, ...], iou_type: str) -> dict[str, Any] | None:
    """What mmdet states of a detector from its model zoo."""
    if not (runs and runs[0].zoo):
        return None
    stated = zoo_model(runs[0].zoo).published
    name = "mask AP" if iou_type == "segm" else "AP"
    source = f"mmdet's model zoo: {runs[0].zoo}"
    return {"AP": stated[name], "source": source} if name in stated else None
