"""An ablation: a table of the paper as data, expanded to the runs it needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from icd.errors import InputError
from icd.experiments.ablation_content import (
    AblationContent,
    Axis,
    Published,
    RowContent,
)
from icd.experiments.base import validate
from icd.experiments.change import Change
from icd.experiments.run import ImportedRun, Run, TrainedRun
from icd.experiments.splits import TEST, TUNE
from icd.experiments.track import Track, shipped_names
from icd.experiments.yaml_files import ROOT, WORKFLOW, load_yaml, read_yaml
from icd.experiments.zoo import model as zoo_model
from icd.mappings import merge

FOLDER = ROOT / "ablations"
# Sections of a track, and how a row names one of their entries.
NAMED = {"detectors": "detector", "backbones": "backbone", "methods": "method"}


@dataclass(frozen=True)
class Row:
    """One line of a table.

    runs: those it averages over, one per seed; none if the track cannot have the row.
    published: AP in the paper and its source.
    baseline: id of the row its gain is measured against, if not the table's.
    reference: id of the row it is compared with besides, if not the table's.
    absent: why the track cannot have the row.
    x: its place in a figure that shows AP against a number.
    """

    id: str
    label: str
    runs: tuple[TrainedRun | ImportedRun, ...]
    published: Published | None
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
    axis: against which AP is drawn, at each row's ``x``.
    figures: ids of the rows that each figure of what the runs do shows, by the name of the figure.
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
    axis: Axis | None = None
    figures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    findings: str = ""
    split: str = TEST
    costs: bool = False

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
        rows = {row.id: row for row in map(self.reference_of, self.rows) if row}
        return list(rows.values())

    @property
    def measured(self) -> list[TrainedRun | ImportedRun]:
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
    ordered: dict[str, Run] = {}
    for run in runs:
        _add_with_sources(run, ordered)
    return list(ordered.values())


def _add_with_sources(run: Run, ordered: dict[str, Run]) -> None:
    for source in run.sources:
        _add_with_sources(source, ordered)
    ordered.setdefault(run.id, run)


def ablation_names(track: Track | None = None) -> list[str]:
    """Names of all ablations, each a file of the folder ablations/, or of those of a track."""
    files = sorted(FOLDER.glob("*.yaml"))
    return [file.stem for file in files if track is None or _names_track(file, track)]


def _names_track(file: Path, track: Track) -> bool:
    """False for a table that names the tracks which have it, another one's."""
    content = read_yaml(file, "ablation")
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
    content = load_yaml(file, AblationContent, "ablation")
    if content.only and track.name not in content.only:
        raise InputError(file, "only", f"leaves out the track {track.name}", str(content.only))
    content.require_consistent(file)
    _require_detector(content, track, file)
    rows = tuple(_Expansion(content, track, file).row(row) for row in content.rows)
    distilled = any(run.distils for row in rows for run in row.runs)
    return Ablation(
        name=file.stem,
        title=content.title,
        question=content.question,
        notes=content.notes,
        baseline=content.baseline,
        rows=rows,
        iou_type=content.iou_type,
        reference=content.reference,
        axis=content.axis,
        figures=content.figures.by_name(),
        findings=content.findings.get(track.name, ""),
        split=track.tuning_split if content.split == TUNE else TEST,
        costs=content.costs and distilled,
    )


def require_runs(ablation: Ablation, track: Track) -> None:
    """Raise InputError unless the track can have a row of the table."""
    if ablation.measured:
        return
    reasons = dict.fromkeys(str(row.absent) for row in ablation.rows)
    problem = f"the track {track.name} can have none of them ({'; '.join(reasons)})"
    there = (f"{section} {sorted(getattr(track.content, section))}" for section in NAMED)
    expected = f"a row of what the track has: {', '.join(there)}"
    raise InputError(FOLDER / f"{ablation.name}.yaml", "rows", problem, expected)


@cache
def rule_names() -> frozenset[str]:
    """Names of the pipeline's own rules, beside which each table has one of its name."""
    files = [ROOT / "Snakefile", *(WORKFLOW / "rules").glob("*.smk")]
    rule = re.compile(r"^ *(?:rule|use rule \w+ as) (\w+)(?: with)?:", re.M)
    return frozenset(name for file in files for name in rule.findall(file.read_text()))


def _require_detector(content: AblationContent, track: Track, file: Path) -> None:
    """Raise InputError unless the published values are of a detector that some track has."""
    known = {*track.content.detectors, *shipped_names("detectors")}
    if (detector := content.published_for) not in (None, *known):
        problem = f"{detector!r} is not a detector"
        raise InputError(file, "published_for", problem, f"one of {sorted(known)}")


@dataclass(frozen=True)
class _Expansion:
    """From the rows that a file states to those of a track."""

    content: AblationContent
    track: Track
    file: Path

    def row(self, row: RowContent) -> Row:
        """A row with its runs."""
        here = row.tracks.get(self.track.name)
        changes = (self.content.base, row.change, here.change if here else None)
        change = self._merged(*changes, key=f"rows.{row.id}")
        absent = (here and here.absent) or missing(change, self.track)
        runs = () if absent else self._runs(change, row.id)
        return Row(
            id=row.id,
            label=(here and here.label) or row.label,
            runs=runs,
            published=self._stated(row, change) or _published(runs, self.content.iou_type),
            baseline=row.baseline,
            absent=absent,
            x=row.x,
            reference=row.reference,
        )

    def _merged(self, *changes: Change | None, key: str) -> Change:
        """One change laid over the other."""
        content: dict[str, Any] = {}
        for change in changes:
            content = merge(content, change.stated() if change else {})
        return validate(Change, content, self.file, (key,))

    def _runs(self, change: Change, row: str) -> tuple[TrainedRun | ImportedRun, ...]:
        """One per seed, each once."""
        seeds = self.track.seeds[: self.content.seeds]
        try:
            runs = {run.id: run for run in (self.track.describe(change, seed) for seed in seeds)}
        except InputError as error:
            problem = f"does not fit {error.where} ({error.key} {error.problem})"
            raise InputError(self.file, f"rows.{row}", problem, error.expected) from error
        return tuple(runs.values())

    def _stated(self, row: RowContent, change: Change) -> Published | None:
        """The published value that a row states, unless it is of another detector than the row."""
        detector = self.content.published_for
        of_another = (
            detector
            and change.detector is None
            and not self.track.describer.is_of(detector, change)
        )
        return None if of_another else row.published


def missing(change: Change, track: Track) -> str | None:
    """What the row needs that other tracks have and this one has not.

    A name that no track has is a slip, which describing the run reports.
    """
    for part in (change, change.teacher):
        for section, key in NAMED.items():
            name = getattr(part, key, None)
            known = getattr(track.content, section)
            if name and name not in known and name in shipped_names(section):
                return f"the track has no {key} {name}"
    if change.pretrained and not track.describer.pretrains(change):
        return "the track pre-trains nothing"
    if other := track.describer.other_teacher(change):
        return f"the track's teacher is {other}"
    return None


def _published(runs: tuple[TrainedRun | ImportedRun, ...], iou_type: str) -> Published | None:
    """What mmdet states of a detector from its model zoo."""
    if not (runs and isinstance(runs[0], ImportedRun) and runs[0].zoo):
        return None
    stated = zoo_model(runs[0].zoo).published
    name = "mask AP" if iou_type == "segm" else "AP"
    if name not in stated:
        return None
    return Published(AP=stated[name], source=f"mmdet's model zoo: {runs[0].zoo}")
