"""How the baselines of a table and their teachers were trained, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from icd.experiments.ablation import Ablation, Row
from icd.experiments.recipe import scaled_lr
from icd.experiments.run import Run


def recipes(ablation: Ablation) -> str:
    """How the baselines of a table and the teachers of its rows were trained."""
    baselines = {row.id: row for row in map(ablation.baseline_of, ablation.rows) if row.runs}
    students = {
        row.label: [*recipe(row.runs[0]), *_seeds(row), *_starts(row)] for row in baselines.values()
    }
    runs = (run.teacher for row in ablation.rows for run in row.runs if run.teacher)
    teachers = list({tuple(parts): parts for parts in map(recipe, runs)}.values())
    found = [_listed("Baseline", list(students.values()), list(students))] if students else []
    if teachers:
        found.append(_listed("Teacher", teachers))
    return " ".join(found)


def _listed(kind: str, recipes: list[list[str]], labels: Sequence[str] = ()) -> str:
    """A recipe in full, or several: first what all share, then what is their own."""
    shared = [part for part in recipes[0] if all(part in other for other in recipes)]
    if len(recipes) == 1:
        label = f" {labels[0]}" if labels else ""
        return f"{kind}{label}: {', '.join(shared)}."
    own = [", ".join(part for part in parts if part not in shared) for parts in recipes]
    if labels:
        named = zip(labels, own, strict=True)
        own = [f"{label}: {parts or 'nothing else'}" for label, parts in named]
    all_have = f" (all: {', '.join(shared)})" if shared else ""
    return f"{kind}s{all_have}: {'; '.join(own)}."


def _seeds(row: Row) -> list[str]:
    seeds = [str(run.description["seed"]) for run in row.runs if not run.imported]
    return [f"seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}"] if seeds else []


def _starts(row: Row) -> list[str]:
    """Whether each run has a pre-training of its own."""
    starts = {run.pretrained.id for run in row.runs if run.pretrained}
    return ["each seed from a pre-training of its own"] if len(starts) > 1 else []


def recipe(run: Run) -> list[str]:
    """Detector, backbone, schedule, optimiser and images of a run; all but its seed."""
    d = run.description
    if run.imported:
        return [f"the checkpoint {d['checkpoint']} with {d['config']}", "taken as it is"]
    trained, optimizer = d["recipe"], d["recipe"]["optimizer"]
    schedule, batch = d["schedule"], trained["batch_size"]
    rate = scaled_lr(optimizer["lr"], batch, trained.get("reference_batch"))
    method = [d["method"]["name"]] if d["method"] else []
    return [
        d["detector"]["name"],
        d["backbone"]["name"],
        *method,
        *(["inheriting"] if d["inherit"] else []),
        *([_start(run.pretrained)] if run.pretrained else []),
        f"{schedule['name']} ({schedule['iterations']:,} iterations of {batch} images)",
        f"{optimizer['type']} at a learning rate of {rate:g}",
        _decay(trained["decay"]),
        _images(d["images"]),
    ]


def _start(pretrained: Run) -> str:
    return (
        f"pre-trained {pretrained.description['schedule']['name']} on the split {pretrained.split}"
    )


def _decay(decay: str | list[float]) -> str:
    if isinstance(decay, str):
        return f"{decay} decay"
    return "divided by 10 at " + " and ".join(f"{100 * place:.0f} %" for place in decay)


def _images(images: dict[str, Any]) -> str:
    longest, shortest = images["scale"]
    sides = images.get("train_short_sides", [])
    several = f" (training: shorter side {min(sides)} to {max(sides)})" if sides else ""
    return f"images within {longest} x {shortest} pixels{several}"
