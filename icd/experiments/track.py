"""A track: a data set and a scale, with the recipe that goes with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from icd.data import GENERATOR_VERSION, SplitFiles
from icd.errors import InputError
from icd.experiments.evaluators import EVALUATORS
from icd.experiments.options import OPTIMIZER, check_methods, check_options
from icd.experiments.run import VERSION, Description, Run, content_hash, merge
from icd.experiments.schema import WORKFLOW, check, load_yaml, read_yaml
from icd.experiments.zoo import teacher as zoo_teacher

TRAIN, TUNE, TEST = "train", "tune", "test"
PRETRAINING_SEED = 0  # one pre-trained detector for all seeds, as with weights of ImageNet
OWN = "own"  # asks for a pre-training with the seed of the run instead
FPN_WIDTH = 256  # channels of a pyramid in mmdet's configs

MACHINE = {  # where a track says nothing
    "threads": 1,
    "gpus": 0,
    "workers": 0,
    "memory": 4000,
    "seconds_per_iteration": 1.0,
    "checkpoint_every": 1000,
    "snapshots": 0,
    "evaluator": EVALUATORS[0],
}


@dataclass(frozen=True)
class Track:
    """The content of a track file and the place of its data."""

    file: Path
    content: dict[str, Any]
    data_root: Path

    @property
    def name(self) -> str:
        return self.content["name"]

    @property
    def seeds(self) -> list[int]:
        return self.content["seeds"]

    @property
    def machine(self) -> dict[str, Any]:
        """What one run uses of a machine, as the track's schema lists it."""
        return MACHINE | self.content.get("machine", {})

    @property
    def detector(self) -> str:
        """Name of the detector that students are where a row names none."""
        first = next(iter(self.content["detectors"]))
        return self.content["roles"]["student"].get("detector", first)

    @property
    def synthetic(self) -> bool:
        """True if the pipeline makes the data itself."""
        return "synthetic" in self.content["data"]

    @property
    def tuning_split(self) -> str:
        """The split to look at during training: a track may do without one of its own."""
        return TUNE if TUNE in self.content["data"]["splits"] else TEST

    @property
    def results(self) -> Path:
        return Path("results", self.name)

    def annotations(self, split: str) -> Path:
        """Annotation file of a split."""
        return self.data_root / data_split(self.content["data"], split)["annotations"]

    def images(self, split: str) -> Path:
        """Image folder of a split."""
        return self.data_root / data_split(self.content["data"], split)["images"]

    @property
    def split_files(self) -> dict[str, SplitFiles]:
        """Annotation file and image folder of every split."""
        names = self.content["data"]["splits"]
        return {name: SplitFiles(self.annotations(name), self.images(name)) for name in names}

    def require_files(self) -> None:
        """Raise InputError unless the user's data and teacher are where the track says."""
        for key, path, kind in self._files():
            if not path.exists():
                raise InputError(self.file, key, f"{path} does not exist", kind)

    def _files(self) -> Iterator[tuple[str, Path, str]]:
        """Key, path and kind of the files and folders that the pipeline does not make."""
        if not self.synthetic:
            yield "data.root", self.data_root, "the folder of the data set"
            for split in self.content["data"]["splits"]:
                key = f"data.splits.{split}"
                yield f"{key}.annotations", self.annotations(split), "a COCO JSON file"
                yield f"{key}.images", self.images(split), "a folder of images"
        teacher = self.content["roles"]["teacher"]
        for name, kind in (("config", "an mmdet config"), ("checkpoint", "a file of weights")):
            if name in teacher:
                yield f"roles.teacher.{name}", Path(teacher[name]), kind

    def describe(self, change: Mapping[str, Any], seed: int) -> Run:
        """The run that an ablation's row asks for.

        Args:
            change: what differs from the track's student: role, detector, backbone, schedule,
                method, options, inherit, adapter, teacher (its detector, backbone, schedule),
                pretrained (own: with the seed of the run).
            seed: of initialisation, augmentation, and the draws of the method.
        """
        role = change.get("role", "student")
        chosen = self.content["roles"][role]
        if role == "teacher":
            change = self._as_teacher(chosen, change)
        if "checkpoint" in chosen:
            return Run(self._base() | {key: chosen[key] for key in ("config", "checkpoint")})
        if "zoo" in chosen:
            return Run(self._base() | self._from_zoo(chosen))
        description = self._trained(role, change, chosen.get("seed", seed))
        if "pretrained" in chosen:
            own = change.get("pretrained") == OWN
            start = self._pretraining(role, change, seed if own else PRETRAINING_SEED)
            description["pretrained"] = start
        return Run(description)

    def pretrains(self, change: Mapping[str, Any]) -> bool:
        """Whether the run that a row asks for starts from a pre-training."""
        return "pretrained" in self.content["roles"][change.get("role", "student")]

    def is_of(self, detector: str, change: Mapping[str, Any]) -> bool:
        """Whether what a row asks for is this detector; False where nothing says what it is."""
        role = change.get("role", "student")
        chosen = self.content["roles"][role]
        if "checkpoint" in chosen:
            return False
        if "zoo" in chosen:  # mmdet has a folder of configs for each kind of detector
            entry = self.content["detectors"].get(detector, {"config": ""})
            ours, theirs = entry["config"], self._from_zoo(chosen)["config"]
            return Path(ours).parent == Path(theirs).parent
        change = self._as_teacher(chosen, change) if role == "teacher" else change
        return self._detector(role, change) == detector

    def other_teacher(self, change: Mapping[str, Any]) -> str | None:
        """What a row of the teacher would show in place of the detector that it names, if so."""
        named = change.get("detector")
        if named is None or change.get("role") != "teacher" or self.is_of(named, change):
            return None
        found = self.content["roles"]["teacher"] | change.get("teacher", {})
        return next(found[key] for key in ("checkpoint", "zoo", "detector") if key in found)

    def _as_teacher(self, chosen: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
        """A change of the teacher: what the track says of it, unless a row chooses another."""
        other = change.get("teacher", {})
        if other and "backbone" not in chosen:
            problem = "is taken as it is, so no row can choose another"
            raise InputError(self.file, "roles.teacher", problem, "backbone and schedule")
        fixed = {key: chosen[key] for key in ("detector",) if key in chosen}
        return {**change, **fixed, **other}

    def _pretraining(self, role: str, change: Mapping[str, Any], seed: int) -> Description:
        """The run whose weights a role starts from: the same detector, trained on other images."""
        chosen, splits = self.content["roles"][role]["pretrained"], self.content["data"]["splits"]
        if chosen["split"] not in splits:
            key, problem = f"roles.{role}.pretrained.split", f"there is no {chosen['split']!r}"
            raise InputError(self.file, key, problem, f"one of {sorted(splits)}")
        same = {key: change[key] for key in ("detector", "backbone") if key in change}
        same["schedule"] = chosen["schedule"]
        return self._trained(role, same, seed) | {"split": chosen["split"]}

    def _trained(self, role: str, change: Mapping[str, Any], seed: int) -> Description:
        """All that decides the outcome of a training from the role's own initialisation."""
        chosen, devices = self.content["roles"][role], max(self.machine["gpus"], 1)
        schedule = change.get("schedule", chosen["schedule"])
        detector = self._named("detectors", self._detector(role, change))
        recipe = self._recipe(role, detector.pop("recipe", {}), schedule)
        iterations = round(float(schedule.removesuffix("x")) * recipe["unit"])
        if not iterations:
            problem = f"is {recipe['unit']}, of which {schedule} is no iteration"
            raise InputError(self.file, "recipe.unit", problem, "one iteration or more")
        if recipe["batch_size"] % devices:
            problem = f"{recipe['batch_size']} images cannot be shared by {devices} GPUs"
            raise InputError(self.file, "recipe.batch_size", problem, "a multiple of machine.gpus")
        method = self._method(change, detector.pop("methods", {}))
        backbone = self._named("backbones", change.get("backbone", chosen["backbone"]))
        inherit = change.get("inherit", False)
        teacher = None
        if method or inherit:
            other = change.get("teacher", {})
            same = {"role": "teacher", "detector": detector["name"], "teacher": other}
            teacher = self.describe(same, seed).description
        if method and "backbone" in teacher and not method.get("adapter"):
            self._require_same_width(detector, backbone, teacher)
        return self._base() | {
            "detector": detector,
            "backbone": backbone,
            "schedule": {"name": schedule, "iterations": iterations},
            "recipe": recipe,
            "method": method,
            "inherit": inherit,
            "teacher": teacher,
            "seed": seed,
            "devices": devices,
        }

    def _base(self) -> Description:
        return {
            "version": VERSION,
            "track": self.name,
            "data": _identity(self.content["data"]),
            "images": self.content["images"],
        }

    def _from_zoo(self, chosen: Mapping[str, str]) -> Description:
        """What a run states of a teacher from mmdet's model zoo."""
        try:
            return zoo_teacher(chosen["zoo"], chosen.get("sha256", ""))
        except InputError as error:
            key = "roles.teacher.sha256" if error.key == "sha256" else "roles.teacher.zoo"
            problem = f"{error.where}: {error.key} {error.problem}"
            raise InputError(self.file, key, problem, error.expected) from error

    def _require_same_width(
        self, detector: Description, student: Description, teacher: Description
    ) -> None:
        """Raise InputError unless both pyramids have as many channels, before anything runs."""
        ours, theirs = _width(detector, student), _width(teacher["detector"], teacher["backbone"])
        if ours != theirs:
            key = f"backbones.{student['name']}.neck.out_channels"
            problem = f"is {ours}, that of the teacher's {teacher['backbone']['name']} {theirs}"
            both = f"detectors.{detector['name']}.model.neck.out_channels"
            expected = f"{theirs}, or one width for both in {both} alone, or adapter: true"
            raise InputError(self.file, key, problem, expected)

    def _recipe(self, role: str, detectors: dict[str, Any], schedule: str) -> dict[str, Any]:
        """The track's recipe with the changes of the detector, then of the role."""
        change = self.content["roles"][role].get("recipe", {})
        recipe = merge(merge(self.content["recipe"], detectors), change)
        check(recipe, "track", self.file, ("roles", role, "recipe"), "recipe")
        if isinstance(recipe["decay"], dict):
            if schedule not in recipe["decay"]:
                problem = f"has no {schedule!r}"
                expected = f"an entry for it beside {sorted(recipe['decay'])}"
                raise InputError(self.file, "recipe.decay", problem, expected)
            recipe["decay"] = recipe["decay"][schedule]
        return recipe

    def _method(
        self, change: Mapping[str, Any], detectors: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """A method with the track's options, then the detector's, then the row's."""
        name = change.get("method", "none")
        if name == "none":
            return None
        method = merge(self._named("methods", name), detectors.get(name, {}))
        method = merge(method, {"options": change.get("options", {})})
        check_options(name, method["options"], self.file, ("methods", name, "options"))
        if "adapter" in change:
            method["adapter"] = change["adapter"]
        if method.get("adapter") and "optimizer" not in method:
            key, expected = f"methods.{name}.optimizer", f"{OPTIMIZER}, for the adapter"
            raise InputError(self.file, key, "is missing", expected)
        return method

    def _detector(self, role: str, change: Mapping[str, Any]) -> str:
        """Name of the detector of a training."""
        chosen = self.content["roles"][role]
        return change.get("detector", chosen.get("detector", self.detector))

    def _named(self, kind: str, name: str) -> dict[str, Any]:
        """An entry of a section with its name."""
        entries = self.content[kind]
        if name not in entries:
            raise InputError(self.file, kind, f"has no {name!r}", f"one of {sorted(entries)}")
        return {"name": name, **entries[name]}


def _width(detector: Description, backbone: Description) -> int:
    """Channels of the pyramid of a detector with a backbone."""
    common = detector.get("model", {}).get("neck", {})
    return merge(common, backbone.get("neck", {})).get("out_channels", FPN_WIDTH)


def _identity(data: Mapping[str, Any]) -> Description:
    """What decides the content of the data, wherever it lies."""
    identity = {key: value for key, value in data.items() if key != "root"}
    return identity | ({"generator": GENERATOR_VERSION} if "synthetic" in data else {})


def data_split(data: Mapping[str, Any], split: str) -> dict[str, str]:
    """Annotation file and image folder of a split, relative to the data's root."""
    if "synthetic" in data:
        return {"annotations": f"{split}.json", "images": split}
    return data["splits"][split]


def load_track(
    name: str, config: Mapping[str, Any] | None = None, data_root: Path | None = None
) -> Track:
    """A track by its name (a file of workflow/tracks) or by the path of its YAML file.

    Args:
        name: e.g. ``mini``, or ``my/data.yaml``.
        config: values for the ``$NAME`` in the data's root, from Snakemake's ``--config``.
        data_root: where the data lies, if already known.
    """
    file = Path(name) if name.endswith((".yaml", ".yml")) else WORKFLOW / f"tracks/{name}.yaml"
    if not file.is_file():
        expected = f"one of {_shipped()} or the path of a YAML file"
        raise InputError(name, "", "no such track", expected)
    content = _extended(read_yaml(file, "track"), file)
    check(content, "track", file)
    check_methods(content, file)
    track = Track(file, content, data_root or _data_root(file, content, config or {}))
    for role in content["roles"]:
        track.describe({"role": role}, seed=0)  # raises if it names what the track does not have
    return track


@cache
def shipped_names(section: str) -> frozenset[str]:
    """Names that stand in a section of any track that comes with the project."""
    files = [WORKFLOW / f"tracks/{name}.yaml" for name in _shipped()]
    return frozenset(name for file in files for name in load_yaml(file, "track")[section])


def _shipped() -> list[str]:
    return sorted(path.stem for path in (WORKFLOW / "tracks").glob("*.yaml"))


def _extended(content: Any, file: Path) -> Any:
    """What a track file says, laid over the shipped track that it ``extends``, if any.

    Name, title and data are always its own, so no role starts from a split of the other data; a
    role that it states replaces the other whole. With a scale of its own, only its own
    ``train_short_sides`` hold.
    """
    if not isinstance(content, dict) or "extends" not in content:
        return content
    content = dict(content)
    name, own = content.pop("extends"), content.get("roles")
    if name not in _shipped():
        raise InputError(file, "extends", f"{name!r} is no shipped track", f"one of {_shipped()}")
    base = load_yaml(WORKFLOW / f"tracks/{name}.yaml", "track")
    for key in ("name", "title", "data"):
        del base[key]
    images = content.get("images")
    if isinstance(images, dict) and "scale" in images:
        base["images"].pop("train_short_sides", None)
    for role in own if isinstance(own, dict) else ():
        base["roles"].pop(role, None)
    for role in base["roles"].values():
        role.pop("pretrained", None)
    return merge(base, content)


def _data_root(file: Path, content: Mapping[str, Any], config: Mapping[str, Any]) -> Path:
    data = content["data"]
    if "synthetic" in data:
        # The place names the content: other images never lie under an old name.
        return Path("data", f"{content['name']}-{content_hash(_identity(data))}")
    try:
        return Path(Template(data["root"]).substitute(config)).expanduser()
    except KeyError as error:
        name = error.args[0]
        expected = f"--config {name}=FOLDER (of snakemake) or --data FOLDER (of icd)"
        raise InputError(file, "data.root", f"${name} is not set", expected) from error
    except ValueError as error:
        problem, expected = f"is {data['root']!r}", "a name after each $, or $$ for the character"
        raise InputError(file, "data.root", problem, expected) from error
