"""Which runs the page shows beyond their numbers. Nothing heavy: the Snakefile imports this."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from icd.experiments.ablation import Ablation, Row, main_first, with_sources
from icd.experiments.run import Run, TrainedRun
from icd.experiments.track import Track
from icd.figures.catalogue import possible
from icd.figures.needs import DETECTOR, measured
from icd.web.gathered import ATTENTION, CURVES, DETECTIONS, PRECISION


@dataclass(frozen=True)
class Evaluated:
    """A run on a split; ``iou_type`` is bbox or segm."""

    run: Run
    split: str
    iou_type: str

    @property
    def detections(self) -> Path:
        """The file of its detections."""
        return self.run.detections(self.split, self.iou_type)


def evaluated(ablations: Iterable[Ablation]) -> list[Evaluated]:
    """All runs of the tables on their splits, each once."""
    return _once(
        Evaluated(run, ablation.split, ablation.iou_type)
        for ablation in main_first(ablations)
        for run in ablation.measured
    )


def illustrated(ablations: Iterable[Ablation]) -> list[Evaluated]:
    """The run of the first seed of each row; first those of which there is a figure."""
    ablations = main_first(ablations)
    rows = [(ablation, row) for ablation in ablations for row in _drawn(ablation, DETECTIONS)]
    rows += [(ablation, row) for ablation in ablations for row in ablation.rows]
    return _once(
        Evaluated(row.runs[0], ablation.split, ablation.iou_type)
        for ablation, row in rows
        if row.runs
    )


def attentive(ablations: Iterable[Ablation]) -> list[Evaluated]:
    """Runs with attention: those of the figures first, then all with the method ICD."""
    ablations = main_first(ablations)
    rows = [(ablation, row) for ablation in ablations for row in _drawn(ablation, ATTENTION)]
    rows += [(ablation, row) for ablation in ablations for row in ablation.rows if _is_icd(row)]
    return _once(
        Evaluated(row.runs[0], ablation.split, ablation.iou_type)
        for ablation, row in rows
        if row.runs
    )


def files_of_attention(run: Run) -> list[Path]:
    """What the attention of a run is computed from."""
    teacher = run.sources_by_role["teacher"]
    detectors = [one.folder / name for one in (run, teacher) for name in DETECTOR]
    return [run.folder / "method.pth", *detectors]


def files_of(
    part: str, track: Track, ablations: Sequence[Ablation], asked: Container[str]
) -> list[Path]:
    """The files that a part of the page is gathered from, for the pipeline.

    They are those of finished runs, and those of the tables that are ``asked`` for by name and will
    be there. Logs are no outputs of a rule. In their place the pipeline waits for weights, which
    are written after them.
    """
    made = [ablation for ablation in ablations if ablation.name in asked]
    if part == CURVES:
        runs = with_sources(run for ablation in ablations for run in ablation.measured)
        coming = {run.id for run in with_sources(run for one in made for run in one.measured)}
        weights = [run.weights for run in runs if run.id in coming or run.weights.is_file()]
        return weights + _snapshots(track, made)
    if part in (PRECISION, DETECTIONS):
        wanted = evaluated(ablations) if part == PRECISION else illustrated(ablations)
        coming_files = {one.run.detections(one.split) for one in evaluated(made)}
        every = dict.fromkeys(one.run.detections(one.split) for one in wanted)
        return [file for file in every if file in coming_files or file.is_file()]
    assert part == ATTENTION
    coming = {run.id for one in made for run in one.measured}
    for one in attentive(ablations):
        files = files_of_attention(one.run)
        if one.run.id in coming or all(file.is_file() for file in files):
            return files
    return []


def _snapshots(track: Track, ablations: Iterable[Ablation]) -> list[Path]:
    """The metrics of the snapshots that figures of curves show."""
    drawn = (one for one in ablations if CURVES in possible(one))
    return [file for one in drawn for file in measured("steps", one, track)]


def _drawn(ablation: Ablation, figure: str) -> Iterator[Row]:
    """The rows that a figure of an ablation shows and the track can have."""
    if figure in possible(ablation):
        yield from ablation.choose(ablation.figures[figure])


def _is_icd(row: Row) -> bool:
    """True if the runs of a row have a decoder with attention."""
    run = row.runs[0] if row.runs else None
    method = run.method if isinstance(run, TrainedRun) else None
    return method is not None and any(part.name == "icd" for part in method.parts)


def _once(found: Iterable[Evaluated]) -> list[Evaluated]:
    return list({(one.run.id, one.split, one.iou_type): one for one in found}.values())
