"""Gathers a part of the page from the runs that are on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from icd.experiments.ablation import Ablation, with_sources
from icd.experiments.run import TrainedRun
from icd.experiments.track import Track
from icd.files import write_json
from icd.web import gathered
from icd.web.wanted import attentive, evaluated, files_of_attention, illustrated

Gather = Callable[[Track, Sequence[Ablation]], dict[str, Any]]


def write(part: str, track: Track, ablations: Sequence[Ablation]) -> None:
    """Gather one of :data:`icd.web.gathered.PARTS` and write its file."""
    write_json(gathered.file_of(track, part), PARTS[part](track, ablations), compact=True)


def _curves(track: Track, ablations: Sequence[Ablation]) -> dict[str, Any]:
    from icd.web.curves import gather

    runs = with_sources(run for ablation in ablations for run in ablation.measured)
    return gather(runs, {one.run.id: one.iou_type for one in reversed(evaluated(ablations))})


def _precision(track: Track, ablations: Sequence[Ablation]) -> dict[str, Any]:
    from icd.web.precision import gather

    known = gathered.gathered(track, gathered.PRECISION)
    return gather(track, evaluated(ablations), known)


def _images(track: Track, ablations: Sequence[Ablation]) -> dict[str, Any]:
    from icd.web.images import gather

    wanted = [one.split for one in (*illustrated(ablations), *attentive(ablations))]
    return gather(track, dict.fromkeys(wanted))


def _detections(track: Track, ablations: Sequence[Ablation]) -> dict[str, Any]:
    from icd.web.detections import gather

    return gather(track, illustrated(ablations))


def _attention(track: Track, ablations: Sequence[Ablation]) -> dict[str, Any]:
    from icd.web.attention import gather

    for one in attentive(ablations):
        present = all(file.is_file() for file in files_of_attention(one.run))
        if present and isinstance(one.run, TrainedRun):
            return dict(gather(track, one.run, one.split))
    return {}


PARTS: dict[str, Gather] = {
    gathered.CURVES: _curves,
    gathered.PRECISION: _precision,
    gathered.IMAGES: _images,
    gathered.DETECTIONS: _detections,
    gathered.ATTENTION: _attention,
}
