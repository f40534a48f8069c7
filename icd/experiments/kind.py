"""Kinds of runs, which cost the same and fail alike, so one short training stands for all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from icd.experiments.options import Combination, Method, shipped_methods
from icd.experiments.recipe import Optimizer
from icd.experiments.roles import NamedBackbone, NamedDetector
from icd.experiments.run import ImportedRun, Run, Schedule, TrainedRun
from icd.experiments.splits import TEST, TRAIN, Split
from icd.mappings import merge

ITERATIONS = 16  # of a rehearsal, which is stopped and resumed in the middle
LEARNING_RATE = 1e-6  # so low that no random teacher makes a rehearsal diverge
FILES = {
    split: Split(annotations=f"{split}.json", images=split) for split in (TRAIN, TEST)
}  # in the folder of a rehearsal's data
FROM_SCRATCH = {"init_cfg": None}  # no weights to download
R = TypeVar("R", bound=Run)


@dataclass(frozen=True)
class Kind:
    """Runs that differ in seed, schedule, learning rates or weights of losses only.

    rehearsal: the short training that stands for them.
    runs: the runs.
    """

    rehearsal: TrainedRun
    runs: tuple[TrainedRun, ...]

    @property
    def id(self) -> str:
        """The name of the kind in files."""
        return self.rehearsal.id

    @property
    def label(self) -> str:
        """What the runs have in common, in words."""
        run = self.rehearsal
        parts = [run.detector.name, run.backbone.name]
        if run.method:
            methods = (" ".join([one.name, *_words(one.options)]) for one in run.method.parts)
            parts.append(" + ".join(methods))
        parts += ["inherit"] * run.inherit
        if isinstance(run.teacher, TrainedRun):
            parts.append(f"teacher {run.teacher.detector.name} {run.teacher.backbone.name}")
        elif run.teacher:
            parts.append(f"teacher {run.teacher.slug}")
        gpus = f"{run.devices} GPUs, " if run.devices > 1 else ""
        longest, shortest = run.images.scale
        size = f"{run.recipe.batch_size} images of {longest} x {shortest}"
        return ", ".join([*parts, f"{gpus}{size}", run.recipe.precision])


def kinds(runs: Iterable[Run]) -> list[Kind]:
    """The kinds of these runs in their order. Imported detectors are not trained and have none."""
    found: dict[str, tuple[TrainedRun, list[TrainedRun]]] = {}
    for run in runs:
        if isinstance(run, TrainedRun):
            rehearsal = rehearsal_of(run)
            found.setdefault(rehearsal.id, (rehearsal, []))[1].append(run)
    return [Kind(rehearsal, tuple(same)) for rehearsal, same in found.values()]


def rehearsal_of(run: TrainedRun) -> TrainedRun:
    """The short training that stands for all runs of a run's kind.

    It starts from random weights and its teacher has random weights, so it needs no other run.
    It also stands for the training of its method's decoder, which costs less.
    """
    return changed(
        run,
        generated=None,
        files=FILES,
        trained_on=TRAIN,
        detector=changed_part(run.detector, model=merge(run.detector.model, FROM_SCRATCH)),
        backbone=changed_part(run.backbone, backbone=merge(run.backbone.backbone, FROM_SCRATCH)),
        schedule=Schedule(name="rehearsal", iterations=ITERATIONS),
        recipe=_recipe(run),
        method=_method(run.method) if run.method else None,
        teacher=_untrained(run.teacher, run) if run.teacher else None,
        pretrained=None,
        decoder=None,
        seed=0,
    )


def changed(run: R, **fields: Any) -> R:
    """The same run with other values; its id is computed anew."""
    return type(run)(**{name: getattr(run, name) for name in type(run).model_fields} | fields)


P = TypeVar("P", NamedDetector, NamedBackbone)


def changed_part(part: P, **fields: Any) -> P:
    """The same detector or backbone with other values."""
    return part.model_copy(update=fields)


def _recipe(run: TrainedRun) -> Any:
    """The recipe without what changes no cost: lengths and learning rates."""
    return run.recipe.model_copy(
        update={
            "unit": ITERATIONS,
            "reference_batch": None,
            "decay": "cosine",
            "ramp": 0,
            "optimizer": _slow(run.recipe.optimizer),
        }
    )


def _slow(optimizer: Optimizer) -> Optimizer:
    """The same optimizer with the learning rate and the clipping of all rehearsals."""
    clips = {name: getattr(optimizer, name) and 1.0 for name in ("clip", "clip_value")}
    return optimizer.model_copy(update={"lr": LEARNING_RATE, **clips})


def _method(method: Method | Combination) -> Method | Combination:
    """The same with the default weights of all losses, from the first iteration on."""
    if isinstance(method, Combination):
        return Combination(methods=[_part(part) for part in method.parts])
    return _part(method)


def _part(method: Method) -> Method:
    options = {k: v for k, v in method.options.items() if not _is_weight(method.name, k, v)}
    if "warmup" in _fields(method.name):
        options["warmup"] = 0
    optimizer = method.optimizer
    if isinstance(optimizer, Optimizer):
        optimizer = _slow(optimizer)
    return method.model_copy(update={"options": options, "optimizer": optimizer})


def _is_weight(method: str, option: str, value: Any) -> bool:
    """Whether an option is a factor in a loss. A factor of 0 is not: it may switch a part off."""
    if option == "warmup" or value == 0:
        return option == "warmup"
    if option not in _fields(method):  # of your own method
        return isinstance(value, float)
    annotation = _fields(method)[option].annotation
    return float in (annotation, *get_args(annotation))


def _fields(method: str) -> dict[str, Any]:
    """The options of a method of the package; empty for your own."""
    if method not in shipped_methods():
        return {}
    return dict(shipped_methods()[method].options.model_fields)


def _untrained(teacher: TrainedRun | ImportedRun, student: TrainedRun) -> TrainedRun | ImportedRun:
    """A teacher of the same architecture, whatever its training was."""
    if isinstance(teacher, ImportedRun):
        return changed(teacher, generated=None, files=FILES)
    same = rehearsal_of(teacher)
    schedule = Schedule(name="untrained", iterations=0)
    return changed(same, schedule=schedule, recipe=_recipe(student), devices=1)


def _words(options: dict[str, Any]) -> list[str]:
    """The options of a method, but those that all rehearsals have."""
    return [f"{name}={value}" for name, value in options.items() if name != "warmup"]
