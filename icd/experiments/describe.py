"""From a row of a table to runs: the track's student or teacher with the row's changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from icd.errors import InputError
from icd.experiments import decoder
from icd.experiments.base import Model, validate
from icd.experiments.change import Change
from icd.experiments.options import (
    OPTIMIZER,
    Combination,
    Method,
    check_options,
    has_decoder,
    shipped_methods,
)
from icd.experiments.recipe import Recipe, TrackRecipe, merge_recipes
from icd.experiments.roles import (
    Backbone,
    NamedBackbone,
    NamedDetector,
    OwnTeacher,
    Role,
    TrackDetector,
    ZooTeacher,
    is_width,
    pyramid_width,
)
from icd.experiments.run import DecoderRun, ImportedRun, Schedule, TrainedRun
from icd.experiments.splits import TEST, TRAIN
from icd.experiments.track_content import TrackContent
from icd.experiments.zoo import teacher as zoo_teacher
from icd.mappings import conflicts, merge

LONGEST = 10**9  # iterations of a training
PRETRAINING_SEED = 0  # all seeds share one pre-trained detector, as with ImageNet weights
E = TypeVar("E", bound=Model)


@dataclass(frozen=True)
class Describer:
    """Describes the runs of a track.

    file: the track's YAML file, for error messages.
    """

    file: Path
    content: TrackContent

    def run(self, change: Change, seed: int) -> TrainedRun | ImportedRun:
        """The run that a row describes.

        Raises:
            InputError: the row names something that the track does not have, or does not fit it.
        """
        role = self._role(change)
        if change.role == "teacher" and (change.methods or change.inherit):
            problem = "is the teacher, which has no teacher of its own"
            raise InputError(self.file, "role", problem, "a row without method and inherit")
        if isinstance(role, OwnTeacher):
            return ImportedRun(**self._base(), config=role.config, checkpoint=role.checkpoint)
        if isinstance(role, ZooTeacher):
            return ImportedRun(**self._base(), **self._from_zoo(role))
        if change.role == "teacher":
            change = self._as_teacher(role, change)
        start = self._pretraining(role, change, seed)
        return self._trained(role, change, seed if role.seed is None else role.seed, start)

    def pretrains(self, change: Change) -> bool:
        """Whether the run that a row describes starts from a pre-training."""
        role = self._role(change)
        return isinstance(role, Role) and role.pretrained is not None

    def is_of(self, detector: str, change: Change) -> bool:
        """Whether a row's run has this detector; False for an imported teacher of your own."""
        role = self._role(change)
        if isinstance(role, OwnTeacher):
            return False
        if isinstance(role, ZooTeacher):  # mmdet keeps the configs of each detector in one folder
            entry = self.content.detectors.get(detector)
            config = self._from_zoo(role)["config"]
            return entry is not None and Path(entry.config).parent == Path(config).parent
        change = self._as_teacher(role, change) if change.role == "teacher" else change
        return self._detector(role, change) == detector

    def other_teacher(self, change: Change) -> str | None:
        """The track's teacher, if a teacher row names a detector that the teacher is not."""
        named = change.detector
        if named is None or change.role != "teacher" or self.is_of(named, change):
            return None
        role = self.content.roles.teacher
        if isinstance(role, OwnTeacher):
            return role.checkpoint
        if isinstance(role, ZooTeacher):
            return role.zoo
        return (change.teacher and change.teacher.detector) or role.detector

    def _role(self, change: Change) -> Role | OwnTeacher | ZooTeacher:
        roles = self.content.roles
        if change.role == "student":
            return roles.student
        if change.teacher and not isinstance(roles.teacher, Role):
            problem = "is imported, so a row cannot choose another"
            raise InputError(self.file, "roles.teacher", problem, "backbone and schedule")
        return roles.teacher

    def _as_teacher(self, role: Role, change: Change) -> Change:
        """A change for the teacher: the track's detector for it, unless a row chooses another."""
        fixed = {"detector": role.detector} if role.detector else {}
        other = change.teacher.stated() if change.teacher else {}
        return change.model_copy(update={**fixed, **other})

    def _pretraining(self, role: Role, change: Change, seed: int) -> TrainedRun | None:
        """The run whose weights a role starts from: the same detector, trained on another split."""
        chosen, splits = role.pretrained, self.content.splits
        if chosen is None:
            return None
        if chosen.split not in splits:
            key = f"roles.{change.role}.pretrained.split"
            expected = f"one of {sorted(splits)}"
            raise InputError(self.file, key, f"there is no {chosen.split!r}", expected)
        if chosen.split == TEST:
            key = f"roles.{change.role}.pretrained.split"
            expected = "a split that nothing is measured on"
            raise InputError(self.file, key, "is the test split", expected)
        same = Change(
            role=change.role,
            detector=change.detector,
            backbone=change.backbone,
            schedule=chosen.schedule,
        )
        seed = seed if change.pretrained == "own" else PRETRAINING_SEED
        return self._trained(role, same, seed, None, chosen.split)

    def _trained(
        self,
        role: Role,
        change: Change,
        seed: int,
        start: TrainedRun | None,
        split: str = TRAIN,
    ) -> TrainedRun:
        """The full description of a training."""
        schedule = change.schedule or role.schedule
        name = self._detector(role, change)
        entry = self._named("detectors", self.content.detectors, name)
        method = self._method(change, entry)
        recipe = self._recipe(change, role, entry, schedule)
        if method is None or recipe.teacher_precision == recipe.precision:  # has no effect
            recipe = recipe.model_copy(update={"teacher_precision": None})
        named = self._backbone(role, change, name)
        backbone = self._named("backbones", self.content.backbones, named)
        teacher = self._teacher(change, name, seed) if method or change.inherit else None
        detector = NamedDetector(name=name, config=entry.config, model=entry.model)
        if method and isinstance(teacher, TrainedRun):
            if not all(part.adapter for part in method.parts):
                self._require_same_width(detector, named, backbone, teacher)
            for part in method.parts:
                self._require_whole_heads(part, teacher)
        return TrainedRun(
            **self._base(),
            detector=detector,
            backbone=NamedBackbone(name=named, **backbone.stated()),
            schedule=self._schedule(schedule, recipe),
            recipe=recipe,
            method=method,
            inherit=change.inherit,
            teacher=teacher,
            seed=seed,
            devices=self._devices(recipe),
            pretrained=start,
            decoder=self._decoder(change, method, recipe, teacher) if method and teacher else None,
            trained_on=split,
        )

    def _decoder(
        self,
        change: Change,
        chosen: Method | Combination,
        recipe: Recipe,
        teacher: TrainedRun | ImportedRun,
    ) -> DecoderRun | None:
        """The training of the method's decoder alone, if track or row state one.

        Of several methods, it is that of the one with a decoder.
        """
        method = next((part for part in chosen.parts if has_decoder(part.name)), chosen.parts[0])
        track = self.content.methods[method.name].decoder
        stated = decoder.decoder_training(track, change.decoder, method, self.file)
        if stated is None:
            return None
        return DecoderRun(
            **self._base(),
            teacher=teacher,
            method=decoder.decoder_method(method, self.file),
            schedule=Schedule(name="warm", iterations=stated["warm"]),
            recipe=decoder.decoder_recipe(stated, method, recipe, self.file),
            seed=decoder.SEED,
            devices=self._devices(recipe),
        )

    def _base(self) -> dict[str, Any]:
        return {
            "track": self.content.name,
            "generated": self.content.data.generated,
            "files": self.content.splits,
            "images": self.content.images,
        }

    def _teacher(self, change: Change, detector: str, seed: int) -> TrainedRun | ImportedRun:
        """The teacher of a student with this detector."""
        return self.run(Change(role="teacher", detector=detector, teacher=change.teacher), seed)

    def _from_zoo(self, role: ZooTeacher) -> dict[str, Any]:
        """The fields of a run for a teacher from mmdet's model zoo."""
        try:
            return zoo_teacher(role.zoo, role.sha256)
        except InputError as error:
            key = "roles.teacher.sha256" if error.key == "sha256" else "roles.teacher.zoo"
            problem = f"{error.where}: {error.key} {error.problem}"
            raise InputError(self.file, key, problem, error.expected) from error

    def _schedule(self, name: str, recipe: Recipe) -> Schedule:
        length = float(name.removesuffix("x")) * recipe.unit
        if length > LONGEST:
            expected = f"at most {LONGEST:,} iterations"
            raise InputError(self.file, "recipe.unit", f"makes {name} too long", expected)
        iterations = round(length)
        if not iterations:
            problem = f"is {recipe.unit}, so {name} is less than one iteration"
            raise InputError(self.file, "recipe.unit", problem, "one iteration or more")
        return Schedule(name=name, iterations=iterations)

    def _devices(self, recipe: Recipe) -> int:
        devices = max(self.content.machine.gpus, 1)
        if recipe.batch_size % devices:
            problem = f"{recipe.batch_size} images cannot be divided among {devices} GPUs"
            expected = "a multiple of machine.gpus"
            raise InputError(self.file, "recipe.batch_size", problem, expected)
        images = recipe.batch_size // devices
        if images % recipe.accumulate:
            problem = f"{images} images per device cannot be divided into {recipe.accumulate} parts"
            expected = "a divisor of recipe.batch_size / machine.gpus"
            raise InputError(self.file, "recipe.accumulate", problem, expected)
        return devices

    def _require_same_width(
        self, detector: NamedDetector, name: str, backbone: Backbone, teacher: TrainedRun
    ) -> None:
        """Raise InputError, before anything runs, unless both pyramids have the same width."""
        width = pyramid_width(detector, backbone)
        teacher_width = pyramid_width(teacher.detector, teacher.backbone)
        for one, channels in ((detector.name, width), (teacher.detector.name, teacher_width)):
            if not is_width(channels):
                key = f"detectors.{one}.model.neck.out_channels"
                expected = "a whole number of channels, or one for each level"
                raise InputError(self.file, key, f"is {channels!r}", expected)
        if width != teacher_width:
            key = f"backbones.{name}.neck.out_channels"
            teacher_name = teacher.backbone.name
            problem = f"is {width}, but the teacher's {teacher_name} has {teacher_width}"
            both = f"detectors.{detector.name}.model.neck.out_channels"
            expected = f"{teacher_width}, or one width for both in {both} alone, or adapter: true"
            raise InputError(self.file, key, problem, expected)

    def _require_whole_heads(self, method: Method, teacher: TrainedRun) -> None:
        """Raise InputError unless a method's heads divide the channels of the teacher's pyramid."""
        shipped = shipped_methods().get(method.name)
        if shipped is None or "heads" not in shipped.options.model_fields:
            return
        heads = method.options.get("heads", shipped.options.model_fields["heads"].default)
        stated = pyramid_width(teacher.detector, teacher.backbone)
        width = max(stated) if isinstance(stated, list) and is_width(stated) else stated
        if isinstance(width, int) and width % heads:
            problem = f"is {heads}, which does not divide the {width} channels of the pyramid"
            key = f"methods.{method.name}.options.heads"
            raise InputError(self.file, key, problem, f"a divisor of {width}")

    def _recipe(self, change: Change, role: Role, detector: TrackDetector, schedule: str) -> Recipe:
        """The track's recipe with the changes of the detector, of the role, then of the methods."""
        recipe = self.content.recipe.stated()
        for part in (detector, role):
            recipe = merge_recipes(recipe, part.recipe.stated() if part.recipe else {})
        recipe = merge_recipes(recipe, self._recipe_of_methods(change.methods))
        key = ("roles", change.role, "recipe")
        merged = validate(TrackRecipe, recipe, self.file, key)
        if isinstance(merged.decay, dict):
            if schedule not in merged.decay:
                expected = f"an entry for it beside {sorted(merged.decay)}"
                problem = f"has no {schedule!r}"
                raise InputError(self.file, "recipe.decay", problem, expected)
            recipe["decay"] = merged.decay[schedule]
        return validate(Recipe, recipe, self.file, key)

    def _recipe_of_methods(self, names: list[str]) -> dict[str, Any]:
        """What the methods of a row change in the student's recipe.

        Raises:
            InputError: two methods want different values.
        """
        found: dict[str, dict[str, Any]] = {}
        for name in names:
            entry = self._named("methods", self.content.methods, name)
            changes = entry.recipe.stated() if entry.recipe else {}
            for other, theirs in found.items():
                for key, (stated, value) in conflicts(theirs, changes).items():
                    problem = f"is {value}, but {stated} in methods.{other}, and a row has both"
                    expected = "one value for methods that a row combines"
                    raise InputError(self.file, f"methods.{name}.recipe.{key}", problem, expected)
            found[name] = changes
        merged: dict[str, Any] = {}
        for changes in found.values():
            merged = merge(merged, changes)
        return merged

    def _method(self, change: Change, detector: TrackDetector) -> Method | Combination | None:
        """The method of a row, or its methods."""
        parts = [self._part(name, change, detector) for name in change.methods]
        if len(parts) > 1:
            return Combination(methods=parts)
        return parts[0] if parts else None

    def _part(self, name: str, change: Change, detector: TrackDetector) -> Method:
        """A method with the options of track, detector and row; later ones take precedence."""
        entry = self._named("methods", self.content.methods, name)
        special, own = detector.methods.get(name), change.options_of(name)
        options = merge(merge(entry.options, special.options if special else {}), own)
        options = check_options(name, options, self.file, ("methods", name, "options"))
        adapter = entry.adapter if change.adapter is None else change.adapter
        if adapter and entry.optimizer is None:
            key, expected = f"methods.{name}.optimizer", f"{OPTIMIZER}, for the adapter"
            raise InputError(self.file, key, "is missing", expected)
        stated = entry.stated() | {"name": name, "options": options, "adapter": adapter}
        stated.pop("recipe", None)  # the run's recipe contains it
        stated.pop("decoder", None)  # its training is a run of its own
        return validate(Method, stated, self.file, ("methods", name))

    def _detector(self, role: Role, change: Change) -> str:
        """Name of the detector that is trained."""
        return change.detector or role.detector or self.content.detector

    def _backbone(self, role: Role, change: Change, detector: str) -> str:
        """Name of the backbone of a detector, which may state the only one that it works with."""
        needed = self.content.detectors[detector].backbone
        if needed and change.backbone not in (None, needed):
            problem = f"is {needed}, but a row names {change.backbone}"
            key = f"detectors.{detector}.backbone"
            raise InputError(self.file, key, problem, "a row that names no backbone")
        return needed or change.backbone or role.backbone

    def _named(self, section: str, entries: Mapping[str, E], name: str) -> E:
        """The entry of a section with this name."""
        if name not in entries:
            expected = f"one of {sorted(entries)}"
            raise InputError(self.file, section, f"has no {name!r}", expected)
        return entries[name]
