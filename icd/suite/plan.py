"""What is there to do: runs, which of them are done, what tables share, time and disk."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import pandas as pd

from icd.suite.ablation import Ablation
from icd.suite.run import Run
from icd.suite.track import Track

Kind = tuple[str, str, str]


@dataclass(frozen=True)
class Estimate:
    """What finished runs of a track tell about others.

    seconds: of training per iteration, by kind of run.
    megabytes: that a run leaves on disk, by kind of run.
    """

    seconds: dict[Kind, float]
    megabytes: dict[Kind, float]

    def hours(self, runs: Iterable[Run]) -> float:
        """Training one after another of those runs whose kind was measured."""
        return sum(self.seconds.get(kind(run), 0.0) * iterations(run) for run in runs) / 3600

    def unknown(self, runs: Iterable[Run]) -> int:
        """Number of runs to train whose kind was not measured."""
        return sum(kind(run) not in self.seconds and not run.imported for run in runs)


def kind(run: Run) -> Kind:
    """What the cost of an iteration depends on most: detector, backbone and method."""
    summary = run.summary
    return tuple(summary.get(key, "imported") for key in ("detector", "backbone", "method"))


def iterations(run: Run) -> int:
    return run.summary.get("iterations", 0)


def done(run: Run) -> bool:
    """True if the run was trained here."""
    return (run.folder / "model.pth").is_file()


def measure(track: Track) -> Estimate:
    """Costs by kind of run, from the manifests of the track and the folders of its runs."""
    seconds, megabytes = defaultdict(list), defaultdict(list)
    for file in sorted((track.results / "manifests").glob("*.json")):
        manifest = json.loads(file.read_text())
        run = Run(manifest["description"])
        if "seconds" in manifest:
            seconds[kind(run)].append(manifest["seconds"] / iterations(run))
        if done(run):
            megabytes[kind(run)].append(size(run.folder) / 1e6)
    return Estimate(
        {name: mean(values) for name, values in seconds.items()},
        {name: mean(values) for name, values in megabytes.items()},
    )


def size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def plan_text(track: Track, ablations: Sequence[Ablation]) -> str:
    """The plan as text: a line for each table, the whole, time and disk."""
    estimate = measure(track)
    unique = {run.id: run for ablation in ablations for run in ablation.runs}
    tables = Counter(run.id for ablation in ablations for run in ablation.runs)
    lines = [_line(ablation.name, ablation.runs, tables, estimate) for ablation in ablations]
    if len(ablations) > 1:
        lines.append(_line("all, each run once", unique.values(), tables, estimate))
    left = [run for run in unique.values() if not done(run)]
    absent = [
        f"{ablation.name}: {row.label}: {row.absent}"
        for ablation in ablations
        for row in ablation.rows
        if row.absent
    ]
    return "\n".join(
        [
            f"Plan for the track {track.name} ({track.content['title']})\n",
            pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True),
            f"\n{len(left)} runs to do, {len(unique) - len(left)} done.",
            *_time(left, estimate),
            *_disk(left, estimate),
            *(["Rows that this track cannot have:", *absent] if absent else []),
        ]
    )


def _line(name: str, runs: Iterable[Run], tables: Counter, estimate: Estimate) -> dict:
    runs = list(runs)
    left = [run for run in runs if not done(run)]
    return {
        "table": name,
        "runs": len(runs),
        "done": len(runs) - len(left),
        "to do": len(left),
        "in other tables too": sum(tables[run.id] > 1 for run in runs),
        "hours": _hours(left, estimate),
    }


def _hours(left: Sequence[Run], estimate: Estimate) -> str:
    """Of training; with a + if some runs are of kinds that were not measured, ? if all are."""
    unknown = estimate.unknown(left)
    if left and unknown == len(left):
        return "?"
    return f"{estimate.hours(left):.1f}" + "+" * bool(unknown)


def _time(left: Sequence[Run], estimate: Estimate) -> list[str]:
    if not left:
        return []
    unknown = estimate.unknown(left)
    text = f"Training takes about {estimate.hours(left):.1f} hours, one run after another"
    if unknown == len(left):
        text = "How long it takes is not known: no run of these kinds was measured on this track"
    elif unknown:
        text += f", and what {unknown} runs take of kinds that were not measured yet"
    return [f"{text}. Evaluation comes on top."]


def _disk(left: Sequence[Run], estimate: Estimate) -> list[str]:
    known = [estimate.megabytes[kind(run)] for run in left if kind(run) in estimate.megabytes]
    if not known:
        return []
    rest = len(left) - len(known)
    text = f"They need about {sum(known) / 1000:.1f} GB of disk"
    return [f"{text}, without {rest} runs of other kinds." if rest else f"{text}."]
