"""How the runs of a baseline were trained, in a sentence."""

from __future__ import annotations

from typing import Any

from icd.suite.ablation import Ablation, Row
from icd.suite.run import Run


def recipes(ablation: Ablation) -> list[str]:
    """For each baseline of a table how it and the teachers of its rows were trained."""
    found: dict[str, list[Row]] = {}
    for row in ablation.rows:
        found.setdefault(ablation.baseline_of(row).id, []).append(row)
    return [
        _of_baseline(ablation.row(name), rows)
        for name, rows in found.items()
        if ablation.row(name).runs
    ]


def _of_baseline(baseline: Row, rows: list[Row]) -> str:
    seeds = [str(run.description["seed"]) for run in baseline.runs if not run.imported]
    text = f"Baseline {baseline.label}: {recipe(baseline.runs[0])}"
    if seeds:
        text += f"; seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}"
    teachers = (run.teacher for row in rows for run in row.runs if run.teacher)
    named = list(dict.fromkeys(map(recipe, teachers)))  # in order, each once
    if named:
        text += f". Teacher{'s' * (len(named) > 1)}: {'; '.join(named)}"
    return f"{text}."


def recipe(run: Run) -> str:
    """Detector, backbone, schedule, optimiser and images of a run; all but its seed."""
    d = run.description
    if run.imported:
        return f"the checkpoint {d['checkpoint']} with {d['config']}, taken as it is"
    trained, optimizer = d["recipe"], d["recipe"]["optimizer"]
    schedule, batch = d["schedule"], trained["batch_size"]
    rate = optimizer["lr"] * batch / trained.get("reference_batch", batch)  # the linear rule
    method = [d["method"]["name"]] if d["method"] else []
    return ", ".join(
        [
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
    )


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
