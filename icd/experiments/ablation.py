"""An ablation: a table of the paper as data, expanded into the runs that it needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from icd.errors import InputError
from icd.experiments.ablation_content import (
    AblationContent,
    Axis,
    Comparison,
    Published,
    RowContent,
)
from icd.experiments.base import validate
from icd.experiments.change import Change
from icd.experiments.known_tracks import require_known_split, require_known_track
from icd.experiments.run import ImportedRun, Run, TrainedRun
from icd.experiments.splits import TEST, TRAIN, TUNE
from icd.experiments.track import Track, shipped_names
from icd.experiments.yaml_files import ROOT, WORKFLOW, load_yaml, read_yaml
from icd.experiments.zoo import model as zoo_model
from icd.mappings import merge

FOLDER = ROOT / "ablations"
# Sections of a track, and the key by which a row selects one of their entries.
NAMED = {"detectors": "detector", "backbones": "backbone", "methods": "method"}


RESERVED = ("runs", "manifests", "deployment")  # folders beside those of tables


@dataclass(frozen=True)
class Row:
    """One row of a table.

    runs: the runs that the row averages over, one per seed; empty if the track cannot have the row.
    published: AP in the paper and its source.
    baseline: id of the row that gains are measured against, if not the table's.
    reference: id of a second row to compare with, if not the table's.
    absent: why the track cannot have the row.
    x: position on the axis of a figure that shows AP against a number.
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

    baseline: id of the row that gains are measured against, unless a row names another.
    iou_type: the AP that the table shows, of boxes (bbox) or masks (segm).
    split: the split on which AP is measured.
    costs: True if the table also shows the cost of a step with each row's method.
    diagnosis: True if the table also shows what each row's decoder does.
    deployment: True if the table also shows how large and how fast each row's detector is.
    reference: id of a second row that all others are compared with.
    axis: the axis of a figure that shows AP at each row's ``x``.
    figures: for each figure of the runs' behaviour, the ids of the rows that it shows.
    findings: the results on this track, in words.
    answers: the questions that two rows answer each.
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
    diagnosis: bool = False
    deployment: bool = False
    answers: tuple[Comparison, ...] = ()

    def row(self, name: str) -> Row:
        """The row with this id."""
        return next(row for row in self.rows if row.id == name)

    def baseline_of(self, row: Row) -> Row:
        """The row that the gain of ``row`` is measured against."""
        return self.row(row.baseline or self.baseline)

    def reference_of(self, row: Row) -> Row | None:
        """The second row that ``row`` is compared with, or None."""
        name = row.reference or self.reference
        return None if name is None else self.row(name)

    @property
    def references(self) -> list[Row]:
        """The rows that :meth:`reference_of` returns for any row, each once."""
        rows = {row.id: row for row in map(self.reference_of, self.rows) if row}
        return list(rows.values())

    @property
    def measured(self) -> list[TrainedRun | ImportedRun]:
        """The runs of all rows, each once."""
        return list({run.id: run for row in self.rows for run in row.runs}.values())

    @property
    def runs(self) -> list[Run]:
        """The runs of all rows, each once, preceded by the runs whose weights they need."""
        return with_sources(self.measured)

    def choose(self, ids: Iterable[str]) -> list[Row]:
        """The rows with these ids, in the given order.

        Raises:
            InputError: a row does not exist, or the track cannot have it.
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
    """These runs, each once, preceded by the runs whose weights they need."""
    ordered: dict[str, Run] = {}
    for run in runs:
        _add_with_sources(run, ordered)
    return list(ordered.values())


def _add_with_sources(run: Run, ordered: dict[str, Run]) -> None:
    for source in run.sources:
        _add_with_sources(source, ordered)
    ordered.setdefault(run.id, run)


def main_first(ablations: Iterable[Ablation]) -> list[Ablation]:
    """The main table, then the others by name."""
    return sorted(ablations, key=lambda one: (one.name != "main", one.name))


def ablation_names(track: Track | None = None) -> list[str]:
    """Names of all ablations (the files in ablations/), or of those that a track has."""
    files = sorted(FOLDER.glob("*.yaml"))
    return [file.stem for file in files if track is None or _names_track(file, track)]


def _names_track(file: Path, track: Track) -> bool:
    """False if the table lists its tracks (``only``) and this one is not among them."""
    content = read_yaml(file, "ablation")
    only = content.get("only") if isinstance(content, dict) else None
    if not isinstance(only, list) or track.name in only:
        return True
    for i, name in enumerate(only):  # a mistyped name would hide the table from its track
        require_known_track(str(name), track, file, f"only.{i}")
    return False


def load_ablation(name: str, track: Track) -> Ablation:
    """The ablation ``ablations/<name>.yaml`` on a track."""
    file = FOLDER / f"{name}.yaml"
    if not file.is_file():
        raise InputError(name, "", "no such ablation", f"one of {ablation_names()}")
    return read_ablation(file, track)


def read_ablation(file: Path, track: Track) -> Ablation:
    """Read an ablation file and expand every row into runs, one per seed of the track."""
    _require_usable_name(file)
    content = load_yaml(file, AblationContent, "ablation")
    _require_tracks(content, track, file)
    if content.only and track.name not in content.only:
        raise InputError(file, "only", f"leaves out the track {track.name}", str(content.only))
    content.require_consistent(file)
    _require_detector(content, track, file)
    rows = tuple(_Expansion(content, track, file).row(row) for row in content.rows)
    distilled = any(run.distils for row in rows for run in row.runs)
    ablation = Ablation(
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
        split=track.tuning_split if content.split == TUNE else content.split,
        costs=content.costs and distilled,
        diagnosis=content.diagnosis,
        deployment=content.deployment,
        answers=tuple(content.answers),
    )
    _require_held_out(ablation, track, file)
    _require_attention(ablation, file)
    return ablation


def _require_held_out(ablation: Ablation, track: Track, file: Path) -> None:
    """Raise InputError if runs of a table are trained on the split that it is measured on."""
    trained = {TRAIN, *(run.split for run in ablation.runs)}
    if ablation.split in trained:
        problem = f"is {ablation.split!r}, which runs are trained on"
        others = sorted({*track.splits} - trained)
        raise InputError(file, "split", problem, f"one of {others}")


def _require_usable_name(file: Path) -> None:
    """Raise InputError unless a table's name can be that of a rule and of a folder of results."""
    expected = "another file name"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", file.stem):
        expected += " of letters, digits, - and _, because it becomes part of paths and commands"
        raise InputError(file, "", f"is named {file.stem!r}", expected)
    if file.stem in rule_names():
        problem = f"{file.stem!r} is the name of a rule of the pipeline"
        raise InputError(file, "", problem, expected)
    if file.stem in RESERVED:
        problem = f"{file.stem!r} is the name of a folder that results have anyway"
        raise InputError(file, "", problem, expected)


def require_runs(ablation: Ablation, track: Track) -> None:
    """Raise InputError unless the track can have at least one row of the table."""
    if ablation.measured:
        return
    reasons = dict.fromkeys(str(row.absent) for row in ablation.rows)
    problem = f"the track {track.name} cannot have any of them ({'; '.join(reasons)})"
    there = (f"{section} {sorted(getattr(track.content, section))}" for section in NAMED)
    expected = f"a row that uses what the track has: {', '.join(there)}"
    raise InputError(FOLDER / f"{ablation.name}.yaml", "rows", problem, expected)


@cache
def rule_names() -> frozenset[str]:
    """Names of the pipeline's own rules. Every table adds a rule of its own name."""
    files = [ROOT / "Snakefile", *(WORKFLOW / "rules").glob("*.smk")]
    rule = re.compile(r"^ *(?:rule|use rule \w+ as) (\w+)(?: with)?:", re.M)
    return frozenset(name for file in files for name in rule.findall(file.read_text()))


def _require_tracks(content: AblationContent, track: Track, file: Path) -> None:
    """Raise InputError if the table names a track or a split that there is not."""
    for key, name in content.named_tracks():
        require_known_track(name, track, file, key)
    if content.split != TUNE:
        require_known_split(content.split, track, file)


def _require_detector(content: AblationContent, track: Track, file: Path) -> None:
    """Raise InputError unless ``published_for`` is a detector of this or a shipped track."""
    known = {*track.content.detectors, *shipped_names("detectors")}
    if (detector := content.published_for) not in (None, *known):
        problem = f"{detector!r} is not a detector"
        raise InputError(file, "published_for", problem, f"one of {sorted(known)}")


def _require_attention(ablation: Ablation, file: Path) -> None:
    """Raise InputError unless the row whose attention is drawn has a method with attention."""
    for name in ablation.figures.get("attention", ()):
        for run in ablation.row(name).runs[:1]:
            method = run.method if isinstance(run, TrainedRun) else None
            parts = method.parts if method else []
            if not any(part.name == "icd" or part.class_ for part in parts):
                expected = "a row with the method icd, or one of yours that is derived from it"
                problem = f"{name!r} has no attention"
                raise InputError(file, "figures.attention.0", problem, expected)


@dataclass(frozen=True)
class _Expansion:
    """Expands the rows of a file into the rows of a track."""

    content: AblationContent
    track: Track
    file: Path

    def row(self, row: RowContent) -> Row:
        """A row with its runs."""
        here = self.track.entry(row.tracks)
        changes = (self.content.base, row.change, here.change if here else None)
        change = self._merged(*changes, key=f"rows.{row.id}")
        self._require_effect(row, change)
        absent = (here and here.absent) or self._no_split() or missing(change, self.track)
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

    def _no_split(self) -> str | None:
        """Why the track cannot have any row, if it lacks the split of the table."""
        split = self.content.split
        if split == TUNE or split in self.track.splits:
            return None
        return f"the track has no split {split}"

    def _require_effect(self, row: RowContent, change: Change) -> None:
        """Raise InputError if the row states what changes nothing: it would show another run."""
        stated = row.change.model_fields_set if row.change else set()
        needs = dict.fromkeys(("options", "adapter", "decoder"), "a method")
        if not change.inherit and change.role == "student":
            needs["teacher"] = "a method or inherit: true"
        for key, needed in needs.items():
            if key in stated and not change.methods:
                place = f"rows.{row.id}.change.{key}"
                raise InputError(self.file, place, "changes nothing", f"{needed} in the row")

    def _merged(self, *changes: Change | None, key: str) -> Change:
        """All changes merged; later ones take precedence."""
        content: dict[str, Any] = {}
        for change in changes:
            content = merge(content, change.stated() if change else {})
        return validate(Change, content, self.file, (key,))

    def _runs(self, change: Change, row: str) -> tuple[TrainedRun | ImportedRun, ...]:
        """The run of each seed, without duplicates."""
        seeds = self.track.seeds[: self.content.seeds]
        try:
            runs = {run.id: run for run in (self.track.describe(change, seed) for seed in seeds)}
        except InputError as error:
            problem = f"does not fit {error.where} ({error.key} {error.problem})"
            raise InputError(self.file, f"rows.{row}", problem, error.expected) from error
        return tuple(runs.values())

    def _stated(self, row: RowContent, change: Change) -> Published | None:
        """The row's published value, or None if it was published for another detector."""
        detector = self.content.published_for
        of_another = (
            detector
            and change.detector is None
            and not self.track.describer.is_of(detector, change)
        )
        return None if of_another else row.published


def missing(change: Change, track: Track) -> str | None:
    """Why the track cannot have a row, if other tracks can; else None.

    A name that no track has is a mistake. :meth:`Track.describe` reports it.
    """
    for section, key, name in _names(change):
        if name not in getattr(track.content, section) and name in shipped_names(section):
            return f"the track has no {key} {name}"
    if change.pretrained and not track.describer.pretrains(change):
        return "the track pre-trains nothing"
    if other := track.describer.other_teacher(change):
        return f"the track's teacher is {other}"
    return None


def _names(change: Change) -> Iterator[tuple[str, str, str]]:
    """Section, key and name of each entry of the track that a row selects."""
    for part in (change, change.teacher):
        for section, key in NAMED.items():
            stated = getattr(part, key, None) or []
            names = [stated] if isinstance(stated, str) else stated
            yield from ((section, key, name) for name in names)


def _published(runs: tuple[TrainedRun | ImportedRun, ...], iou_type: str) -> Published | None:
    """The AP that mmdet's model zoo states for an imported detector."""
    if not (runs and isinstance(runs[0], ImportedRun) and runs[0].zoo):
        return None
    stated = zoo_model(runs[0].zoo).published
    name = "mask AP" if iou_type == "segm" else "AP"
    if name not in stated:
        return None
    return Published(AP=stated[name], source=f"mmdet's model zoo: {runs[0].zoo}")
