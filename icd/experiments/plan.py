"""The plan of tables: runs to do and done, runs shared between tables, time and disk."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from icd.experiments.ablation import Ablation
from icd.experiments.rehearsals import Rehearsal, Rehearsed, measured, rehearsed
from icd.experiments.requests import Request, requests
from icd.experiments.run import CostGroup, Run, read_run
from icd.experiments.track import Track
from icd.files import read_json
from icd.markdown import table

COLUMNS = ("table", "runs", "done", "to do", "in other tables too", "hours")
REQUESTED = ("kind", "runs", "walltime", "memory in MB", "GPUs", "walltime and memory are")


@dataclass(frozen=True)
class CostModel:
    """Costs of a track's finished runs, used to estimate those of other runs.

    seconds: training seconds per iteration, by cost group.
    megabytes: disk space of a run in MB, by cost group.
    stated: seconds per iteration from the track file, for groups that were not measured.
    rehearsal: rehearsals by kind, for groups without a finished run.
    """

    seconds: dict[CostGroup, float]
    megabytes: dict[CostGroup, float]
    stated: float | None = None
    rehearsal: Rehearsal = field(default_factory=dict)

    def hours(self, runs: Iterable[Run]) -> float:
        """Hours to train these runs one after another; runs of unknown cost count as 0."""
        return sum((self.per_iteration(run) or 0.0) * run.iterations for run in runs) / 3600

    def per_iteration(self, run: Run) -> float | None:
        """Training seconds per iteration, measured or stated; None if unknown."""
        if run.cost_group in self.seconds:
            return self.seconds[run.cost_group]
        measured = rehearsed(run, self.rehearsal)
        return measured.seconds_per_iteration if measured else self.stated

    def unmeasured(self, runs: Iterable[Run]) -> int:
        """Number of runs to train of a cost group without a finished run or a rehearsal."""
        return sum(
            run.cost_group not in self.seconds
            and rehearsed(run, self.rehearsal) is None
            and run.iterations > 0
            for run in runs
        )

    def rehearsed(self, runs: Iterable[Run]) -> list[Rehearsed]:
        """The rehearsals that the estimate of these runs uses."""
        found = (
            rehearsed(run, self.rehearsal) for run in runs if run.cost_group not in self.seconds
        )
        return [one for one in found if one]


def done(run: Run) -> bool:
    """True if the folder of the run holds its weights."""
    return run.weights.is_file()


def measure(track: Track) -> CostModel:
    """Costs by cost group, from the track's manifests and the folders of its runs."""
    seconds: dict[CostGroup, list[float]] = defaultdict(list)
    megabytes: dict[CostGroup, list[float]] = defaultdict(list)
    for file in sorted((track.results / "manifests").glob("*.json")):
        manifest = read_json(file, "the provenance of a run")
        run = read_run(manifest["description"], file)
        if "seconds" in manifest:
            seconds[run.cost_group].append(manifest["seconds"] / run.iterations)
        if done(run):
            megabytes[run.cost_group].append(size(run.folder) / 1e6)
    return CostModel(
        {name: mean(values) for name, values in seconds.items()},
        {name: mean(values) for name, values in megabytes.items()},
        track.machine.seconds_per_iteration,
        measured(track),
    )


def size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def plan_text(track: Track, ablations: Sequence[Ablation], others: Sequence[Ablation] = ()) -> str:
    """The plan as text: one line per table, totals, time and disk.

    Args:
        track: the track of all tables.
        ablations: the tables to plan.
        others: further tables, which may share runs with them.
    """
    estimate = measure(track)
    unique = {run.id: run for ablation in ablations for run in ablation.runs}
    tables = Counter(run.id for ablation in (*ablations, *others) for run in ablation.runs)
    lines = [_line(ablation.name, ablation.runs, tables, estimate) for ablation in ablations]
    if len(ablations) > 1:
        lines.append(_line("all, each run once", unique.values(), tables, estimate))
    left = [run for run in unique.values() if not done(run)]
    absent = [
        f"  {ablation.name}: {row.label}: {row.absent}"
        for ablation in ablations
        for row in ablation.rows
        if row.absent
    ]
    return "\n".join(
        [
            f"Plan for the track {track.name} ({track.content.title})\n",
            table(COLUMNS, lines),
            f"\n{len(left)} runs to do, {len(unique) - len(left)} done.",
            *_shared(unique, others),
            *_time(left, estimate),
            *_disk(left, estimate),
            *_requests(requests(track, left, estimate.rehearsal)),
            *(["Rows that this track cannot have:", *absent] if absent else []),
        ]
    )


def _line(
    name: str, runs: Iterable[Run], tables: Counter[str], estimate: CostModel
) -> tuple[str, ...]:
    runs = list(runs)
    left = [run for run in runs if not done(run)]
    shared = sum(tables[run.id] > 1 for run in runs)
    counts = (len(runs), len(runs) - len(left), len(left), shared)
    return name, *map(str, counts), _hours(left, estimate)


def _hours(left: Sequence[Run], estimate: CostModel) -> str:
    """Training hours, with a + if some runs have an unknown cost; ``?`` if all have."""
    unknown = 0 if estimate.stated else estimate.unmeasured(left)
    if left and unknown == len(left):
        return "?"
    return f"{estimate.hours(left):.1f}" + "+" * bool(unknown)


def _shared(unique: Mapping[str, Run], others: Sequence[Ablation]) -> list[str]:
    """A line that names the other tables with some of these runs."""
    shared = {other.name: sum(run.id in unique for run in other.runs) for other in others}
    named = ", ".join(f"{name} ({count})" for name, count in shared.items() if count)
    return [f"Other tables with some of these runs: {named}."] if named else []


def _time(left: Sequence[Run], estimate: CostModel) -> list[str]:
    if not left:
        return []
    unmeasured = estimate.unmeasured(left)
    text = f"Training takes about {estimate.hours(left):,.1f} hours, one run after another"
    if unmeasured and estimate.stated:
        which = "this assumes" if unmeasured == len(left) else f"for {unmeasured} runs this assumes"
        text += (
            f"; {which} {estimate.stated:g} seconds per iteration, as stated by the track, because"
            " no run of their kind was measured or rehearsed"
        )
    elif unmeasured == len(left):
        text = "The training time is unknown: no run of these kinds was measured on this track"
    elif unmeasured:
        text += f", plus the time of {unmeasured} runs of kinds that were not measured yet"
    return [f"{text}. Evaluation is not included.", *_rehearsals(left, estimate)]


def _rehearsals(left: Sequence[Run], estimate: CostModel) -> list[str]:
    """A line that names the rehearsals behind the estimate."""
    used = estimate.rehearsed(left)
    machines = ", ".join(dict.fromkeys(one.machine for one in used))
    return [f"Measured by rehearsal on {machines}: {len(used)} of these runs."] if used else []


def _requests(found: Sequence[Request]) -> list[str]:
    """A table of what trainings request on a cluster."""
    lines = [
        (one.kind, str(one.runs), clock(one.minutes), str(one.memory), str(one.gpus), one.origin)
        for one in found
    ]
    return [f"\nRequests of a training on a cluster:\n\n{table(REQUESTED, lines)}"] if lines else []


def clock(minutes: int) -> str:
    """Minutes as hours and minutes, e.g. 112:50."""
    return f"{minutes // 60}:{minutes % 60:02}"


def _disk(left: Sequence[Run], estimate: CostModel) -> list[str]:
    known = [
        estimate.megabytes[run.cost_group] for run in left if run.cost_group in estimate.megabytes
    ]
    if not known:
        text = "The disk space is unknown until one of these runs is done here."
        return [text] if left else []
    rest = len(left) - len(known)
    text = f"They need about {sum(known) / 1000:.1f} GB of disk"
    return [f"{text}, not counting {rest} runs of other kinds." if rest else f"{text}."]
