"""The recipes of a track's detectors beside those that were published and those of mmdet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from icd.experiments.published import PublishedRecipes, published_recipes
from icd.experiments.run import TrainedRun
from icd.experiments.track import Track
from icd.markdown import table
from icd.training.base_config import written_config
from icd.training.settings import mmdet_settings, track_settings

SAME, UNKNOWN = "same", "-"
DISTILLED, CLIPPING = "icd", "gradient clipping with ICD"  # what ICD's authors change for students
OF_BACKBONE = (
    "initial weights",
    "normalisation",
    "stride of a bottleneck",
    "frozen stages",
    "batch norm of the backbone",
)
HEADER = ("setting", "detectors", "track", "published", "mmdet's config", "why not as published")
BACKBONES = ("backbone", *OF_BACKBONE, "why not detectron2's weights and normalisation")
ELSEWHERE = ("detector", "what", "published", "track", "why")
INTRODUCTION = """# Recipes of {name}

What the students of the track `{name}` train with, beside what ICD's authors published and what
mmdet's config of the detector says. `same` means: as the track. Where `published` is `same`, the
track follows detectron2 or AdelaiDet; where only `mmdet's config` is `same`, it follows mmdet. A
value of mmdet's config that is not `same` is not used, and the log of each training says so. Values
are those of the student `{backbone}` {schedule}, without distillation unless stated.

`python -m icd recipes {name}` prints this page. What was published, and each reason, is in
`workflow/published_recipes.yaml`."""


@dataclass(frozen=True)
class Setting:
    """A setting of a detector's training; ``published`` and ``mmdet`` are None if unknown.

    reason: why the track differs from what was published.
    """

    name: str
    here: str
    published: str | None
    mmdet: str | None
    reason: str

    @property
    def differs(self) -> bool:
        """Whether the track does not follow what was published."""
        return self.published not in (None, self.here)


def student(track: Track, detector: str, **change: str) -> TrainedRun:
    """The track's student with a detector; without distillation, unless ``change`` has a method."""
    run = track.describe({"detector": detector, **change}, seed=0)
    assert isinstance(run, TrainedRun), "students are trained"
    return run


def compare(track: Track, detector: str, published: PublishedRecipes) -> list[Setting]:
    """All settings with which the track's student trains a detector."""
    run = student(track, detector)
    theirs, mmdet = published.settings(detector, run.backbone.name), written_config(run)
    reasons, configured = published.reasons(detector), mmdet_settings(mmdet)
    ours = track_settings(run)
    if DISTILLED in track.content.methods:
        distilled = track_settings(student(track, detector, method=DISTILLED))
        ours[CLIPPING] = distilled["gradient clipping"]
    return [
        Setting(name, here, theirs.get(name), configured.get(name), reasons.get(name, ""))
        for name, here in ours.items()
    ]


def mistakes(track: Track, published: PublishedRecipes) -> Iterator[str]:
    """Differences without a reason, reasons without a difference, unknown names of settings."""
    for detector in track.content.detectors:
        found = {one.name: one for one in compare(track, detector, published)}
        for one in found.values():
            if one.differs and not one.reason:
                yield f"{detector}: {one.name} is {one.here}, not {one.published}, without a reason"
        own = published.detectors.get(detector)
        for name in own.reasons if own else ():
            if name in found and not found[name].differs:
                yield f"{detector}: {name} has a reason, but is as published"
        for name in published.settings(detector, "") | published.reasons(detector):
            if name not in found:
                yield f"{detector}: there is no setting {name}"
    for backbone in track.content.backbones:
        known = published.backbones.get(backbone)
        if _special(track, backbone, published) != bool(known and known.reason):
            yield f"{backbone}: a reason is needed if, and only if, it is not as published"


def _special(track: Track, backbone: str, published: PublishedRecipes) -> bool:
    """Whether the track uses a backbone otherwise than ICD's authors, or they did not use it."""
    settings = track_settings(student(track, track.detector, backbone=backbone))
    theirs = published.settings(track.detector, backbone)
    return any(settings[name] != theirs.get(name) for name in OF_BACKBONE)


def page(track: Track) -> str:
    """The comparison as Markdown: settings by detector, backbones, and what no config states."""
    published = published_recipes()
    role = track.content.roles.student
    parts = [
        INTRODUCTION.format(name=track.name, backbone=role.backbone, schedule=role.schedule),
        f"## Settings\n\n{_settings(track, published)}",
        f"## Backbones\n\n{_backbones(track, published)}",
    ]
    if others := _elsewhere(track, published):
        parts.append(f"## What no config states\n\n{others}")
    return "\n\n".join([*parts, f"## Sources\n\n{_sources(track, published)}"]) + "\n"


def _settings(track: Track, published: PublishedRecipes) -> str:
    """One row for each setting and value, with the detectors that have it."""
    names = list(track.content.detectors)
    found = {name: compare(track, name, published) for name in names}
    rows: dict[Setting, list[str]] = {}
    for same in zip(*found.values(), strict=True):  # a setting of all detectors
        for name, setting in zip(found, same, strict=True):
            rows.setdefault(setting, []).append(name)
    cells = (
        (
            one.name,
            "all" if having == names else ", ".join(having),
            one.here,
            _beside(one.published, one.here),
            _beside(one.mmdet, one.here),
            one.reason if one.differs else "",
        )
        for one, having in rows.items()
    )
    return table(HEADER, cells, text=True)


def _beside(other: str | None, here: str) -> str:
    return UNKNOWN if other is None else SAME if other == here else other


def _backbones(track: Track, published: PublishedRecipes) -> str:
    """One row for each backbone, with the track's detector."""
    body = []
    for name in track.content.backbones:
        settings = track_settings(student(track, track.detector, backbone=name))
        known = published.backbones.get(name)
        own = (settings[setting] for setting in OF_BACKBONE)
        body.append((name, *own, known.reason if known else ""))
    return table(BACKBONES, body, text=True)


def _elsewhere(track: Track, published: PublishedRecipes) -> str:
    body = [
        (name, one.setting, one.published, one.here, one.reason)
        for name in track.content.detectors
        for one in getattr(published.detectors.get(name), "elsewhere", [])
    ]
    return table(ELSEWHERE, body, text=True) if body else ""


def _sources(track: Track, published: PublishedRecipes) -> str:
    """What was published where, and the names of mmdet's configs."""
    body = [("all", published.shared.source, "")]
    for name, entry in track.content.detectors.items():
        own = published.detectors.get(name)
        body.append((name, own.source if own else UNKNOWN, f"`{entry.config}`"))
    return table(("detector", "published recipe", "mmdet's config"), body, text=True)
