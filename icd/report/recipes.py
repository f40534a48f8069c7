"""The training recipes of a table's baselines and teachers, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from icd.experiments.ablation import Ablation, Row
from icd.experiments.run import ImportedRun, Run, TrainedRun
from icd.experiments.splits import Resizing


def recipes(ablation: Ablation) -> str:
    """The recipes of a table's baselines and of the teachers of its rows."""
    baselines = {row.id: row for row in map(ablation.baseline_of, ablation.rows) if row.runs}
    students = {
        row.label: [*recipe(row.runs[0]), *_seeds(row), *_starts(row)] for row in baselines.values()
    }
    teachers = _teachers(run for row in ablation.rows for run in row.runs)
    texts = [_listed("Baseline", list(students.values()), list(students))] if students else []
    if teachers:
        texts.append(_listed("Teacher", teachers))
    return " ".join(texts)


def _teachers(runs: Iterable[Run]) -> list[list[str]]:
    """The recipes of the teachers of some runs. Says if each seed has a teacher of its own."""
    found: dict[tuple[str, ...], set[str]] = {}
    for run in runs:
        if teacher := run.sources_by_role.get("teacher"):
            found.setdefault(tuple(recipe(teacher)), set()).add(teacher.id)
    own = "each seed of the student with its own teacher"
    return [[*parts, *([own] if len(ids) > 1 else [])] for parts, ids in found.items()]


def _listed(role: str, recipes: list[list[str]], labels: Sequence[str] = ()) -> str:
    """One recipe in full, or several: first the parts that all share, then their own parts."""
    shared = [part for part in recipes[0] if all(part in other for other in recipes)]
    if len(recipes) == 1:
        label = f" {labels[0]}" if labels else ""
        return f"{role}{label}: {', '.join(shared)}."
    own = [", ".join(part for part in parts if part not in shared) for parts in recipes]
    if labels:
        named = zip(labels, own, strict=True)
        own = [f"{label}: {parts or 'nothing else'}" for label, parts in named]
    all_have = f" (all: {', '.join(shared)})" if shared else ""
    return f"{role}s{all_have}: {'; '.join(own)}."


def _seeds(row: Row) -> list[str]:
    seeds = [str(run.seed) for run in row.runs if isinstance(run, TrainedRun)]
    return [f"seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}"] if seeds else []


def _starts(row: Row) -> list[str]:
    """Says if each run has its own pre-training."""
    starts = {
        run.sources_by_role["pretrained"].id
        for run in row.runs
        if "pretrained" in run.sources_by_role
    }
    return ["each seed with its own pre-training"] if len(starts) > 1 else []


def recipe(run: Run) -> list[str]:
    """Detector, backbone, schedule, optimiser and images of a run; everything but its seed."""
    if isinstance(run, ImportedRun):
        return [f"the checkpoint {run.checkpoint} with {run.config}", "used unchanged"]
    assert isinstance(run, TrainedRun)
    trained, schedule = run.recipe, run.schedule
    return [
        run.detector.name,
        run.backbone.name,
        *([run.method.name] if run.method else []),
        *(["inheriting"] if run.inherit else []),
        *([_start(run.pretrained)] if run.pretrained else []),
        f"{schedule.name} ({schedule.iterations:,} iterations of {trained.batch_size} images)",
        f"{trained.optimizer.type} with a learning rate of {trained.rate:g}",
        _decay(trained.decay),
        _images(run.images),
    ]


def _start(pretrained: TrainedRun) -> str:
    return f"pre-trained {pretrained.schedule.name} on the split {pretrained.split}"


def _decay(decay: str | list[float]) -> str:
    if isinstance(decay, str):
        return f"{decay} schedule"
    return "learning rate divided by 10 at " + " and ".join(
        f"{100 * place:.0f} %" for place in decay
    )


def _images(images: Resizing) -> str:
    longest, shortest = images.scale
    sides = images.train_short_sides or []
    several = f" (training: shorter side {min(sides)} to {max(sides)})" if sides else ""
    return f"images within {longest} x {shortest} pixels{several}"
