"""A track: a data set, a scale and the recipe for them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from string import Template
from typing import Any, TypeVar

from icd.data import SplitFiles
from icd.data.reading import SMALLEST_SIDE, Reading
from icd.errors import InputError
from icd.experiments.base import validate
from icd.experiments.change import Change
from icd.experiments.describe import Describer
from icd.experiments.machine import Machine
from icd.experiments.options import check_method, check_options, shipped_methods
from icd.experiments.recipe import merge_recipes
from icd.experiments.roles import OwnTeacher, Role
from icd.experiments.run import ImportedRun, TrainedRun
from icd.experiments.splits import TEST, TRAIN, TUNE, OwnData, Split, SyntheticData
from icd.experiments.track_content import TrackContent
from icd.experiments.yaml_files import WORKFLOW, read_yaml
from icd.mappings import content_hash, merge

Entry = TypeVar("Entry")
SECTIONS = ("detectors", "backbones", "methods")  # an extending track may leave out entries


@dataclass(frozen=True)
class Track:
    """The content of a track file and the location of its data.

    extends: names of the shipped tracks that it extends, the nearest one first.
    """

    file: Path
    content: TrackContent
    data_root: Path
    extends: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.content.name

    def entry(self, by_track: Mapping[str, Entry]) -> Entry | None:
        """What is stated for this track, or else for the nearest one that it extends."""
        names = (name for name in (self.name, *self.extends) if name in by_track)
        return next((by_track[name] for name in names), None)

    @property
    def seeds(self) -> list[int]:
        return self.content.seeds

    @property
    def machine(self) -> Machine:
        return self.content.machine

    @property
    def detector(self) -> str:
        """Name of the student's detector in rows that name none."""
        return self.content.detector

    @property
    def synthetic(self) -> SyntheticData | None:
        """The data that the pipeline generates; None for your own data."""
        return self.content.data if isinstance(self.content.data, SyntheticData) else None

    @property
    def splits(self) -> dict[str, Split]:
        """Files of each split, relative to the root of the data."""
        return self.content.splits

    @property
    def tuning_split(self) -> str:
        """The split for decisions before the test: tune, or test for a track without tune."""
        return TUNE if TUNE in self.splits else TEST

    @property
    def results(self) -> Path:
        return Path("results", self.name)

    @property
    def root_names(self) -> list[str]:
        """The names after ``$`` in the root of the data, which ``--config`` sets."""
        data = self.content.data
        return Template(data.root).get_identifiers() if isinstance(data, OwnData) else []

    def annotations(self, split: str) -> Path:
        """Annotation file of a split, which the pipeline may have to make."""
        return self.splits[split].annotation_file(self.data_root)

    def images(self, split: str) -> Path:
        """Image folder of a split."""
        return self.data_root / self.splits[split].images

    @property
    def split_files(self) -> dict[str, SplitFiles]:
        """Annotation file and image folder of every split."""
        return {name: SplitFiles(self.annotations(name), self.images(name)) for name in self.splits}

    def reading(self, smallest_side: int = SMALLEST_SIDE) -> Reading:
        """How training and testing read the images.

        ``smallest_side``: images with a shorter side are left out of training.
        """
        roles = (self.content.roles.teacher, self.content.roles.student)
        first = {
            role.pretrained.split for role in roles if isinstance(role, Role) and role.pretrained
        }
        images = self.content.images
        trained = frozenset({TRAIN, *first})
        return Reading(trained, images.train_scales, images.test_scale, smallest_side)

    def require_files(self) -> None:
        """Raise InputError if a file or folder of the user's data or teacher does not exist."""
        for key, path, expected in self._files():
            if not path.exists():
                raise InputError(self.file, key, f"{path} does not exist", expected)

    def _files(self) -> Iterator[tuple[str, Path, str]]:
        """Key, path and meaning of each file and folder that the pipeline does not make."""
        if not self.synthetic:
            yield "data.root", self.data_root, "the folder of the data set"
            for name, split in self.splits.items():
                key = f"data.splits.{name}"
                for source in split.sources(self.data_root):
                    kind = "a list of image names" if split.voc else "a COCO JSON file"
                    yield f"{key}.{'voc' if split.voc else 'annotations'}", source, kind
                yield f"{key}.images", self.images(name), "a folder of images"
        teacher = self.content.roles.teacher
        if isinstance(teacher, OwnTeacher):
            yield "roles.teacher.config", Path(teacher.config), "an mmdet config"
            yield "roles.teacher.checkpoint", Path(teacher.checkpoint), "a checkpoint"

    @property
    def made_splits(self) -> list[str]:
        """The splits whose annotation files the pipeline makes from the user's files."""
        return [name for name, split in self.splits.items() if split.made]

    @property
    def describer(self) -> Describer:
        """The object that turns rows of a table into runs."""
        return Describer(self.file, self.content)

    def describe(self, change: Change | Mapping[str, Any], seed: int) -> TrainedRun | ImportedRun:
        """The run that a row of a table describes.

        Args:
            change: changes to the track's student.
            seed: seed of initialisation, augmentation and the method's random draws.
        """
        if not isinstance(change, Change):
            change = validate(Change, dict(change), "a row")
        return self.describer.run(change, seed)


def load_track(
    name: str, config: Mapping[str, Any] | None = None, data_root: Path | None = None
) -> Track:
    """A track by its name (a file in workflow/tracks) or by the path of its YAML file.

    Args:
        name: e.g. ``mini``, or ``my/data.yaml``.
        config: values that replace ``$NAME`` in the data's root, from Snakemake's ``--config``.
        data_root: the root folder of the data, if already known.
    """
    file = Path(name) if name.endswith((".yaml", ".yml")) else WORKFLOW / f"tracks/{name}.yaml"
    if not file.is_file():
        expected = f"one of {shipped_tracks()} or the path of a YAML file"
        raise InputError(name, "", "no such track", expected)
    track = read_track(track_mapping(file), file, config, data_root)
    _require_own_name(track)
    return replace(track, extends=tuple(_extended(file)))


def _extended(file: Path) -> Iterator[str]:
    """Names of the shipped tracks that a track extends, itself or through another one."""
    name = read_yaml(file, "track").get("extends")
    if name:
        yield name
        yield from _extended(WORKFLOW / f"tracks/{name}.yaml")


def _require_own_name(track: Track) -> None:
    """Raise InputError if a user's track has a shipped one's name: results would be mixed."""
    shipped = WORKFLOW / f"tracks/{track.name}.yaml"
    if shipped.is_file() and track.file.resolve() != shipped.resolve():
        problem = f"is {track.name!r}, the name of a track of the project"
        raise InputError(track.file, "name", problem, "another name, for its own results")


def command_of(ablation: str, name: str) -> str:
    """The Snakemake command that makes a table on a track, for messages.

    Args:
        ablation: name of the table.
        name: of the track, or path of its YAML file.
    """
    if not Path(name).suffix and name not in shipped_tracks():
        name = "FILE"  # a track of the user's, whose file is unknown
    roots = load_track(name, data_root=Path()).root_names if name != "FILE" else []
    values = [f"track={name}"] * (name != "mini") + [f"{root}=FOLDER" for root in roots]
    return shlex.join(["snakemake", ablation, *(["--config", *values] if values else [])])


def read_track(
    content: Any,
    file: Path,
    config: Mapping[str, Any] | None = None,
    data_root: Path | None = None,
) -> Track:
    """A track with this content, which was read from ``file``."""
    valid = validate(TrackContent, content, file)
    _check_methods(valid, file)
    _check_roles(valid, file)
    _check_backbones(valid, file)
    track = Track(file, valid, data_root or _data_root(file, valid, config or {}))
    for role in ("teacher", "student"):
        track.describe({"role": role}, seed=0)  # raises if the role names unknown entries
    return track


def _check_methods(content: TrackContent, file: Path) -> None:
    """Raise InputError unless all methods and options of a track are valid."""
    for name, method in content.methods.items():
        check_method(name, method, file)
    for detector, entry in content.detectors.items():
        for name, change in entry.methods.items():
            key = ("detectors", detector, "methods", name)
            if name not in content.methods and name not in shipped_methods():
                expected = f"one of {sorted({*content.methods, *shipped_methods()})}"
                raise InputError(file, ".".join(key), "is not a known method", expected)
            check_options(name, change.options, file, (*key, "options"))


def _check_roles(content: TrackContent, file: Path) -> None:
    """Raise InputError if a role names a detector or backbone that the track does not have."""
    for key, role in (("teacher", content.roles.teacher), ("student", content.roles.student)):
        if not isinstance(role, Role):
            continue
        for part, section in (("detector", content.detectors), ("backbone", content.backbones)):
            name = getattr(role, part)
            if name is not None and name not in section:
                expected = f"one of {sorted(section)}"
                raise InputError(file, f"roles.{key}.{part}", f"there is no {name!r}", expected)


def _check_backbones(content: TrackContent, file: Path) -> None:
    """Raise InputError unless the track has the backbones that detectors state."""
    for name, entry in content.detectors.items():
        if entry.backbone and entry.backbone not in content.backbones:
            key, problem = f"detectors.{name}.backbone", f"there is no {entry.backbone!r}"
            raise InputError(file, key, problem, f"one of {sorted(content.backbones)}")


@cache
def shipped_names(section: str) -> frozenset[str]:
    """All names in a section of the shipped tracks."""
    files = [WORKFLOW / f"tracks/{name}.yaml" for name in shipped_tracks()]
    contents = [validate(TrackContent, track_mapping(file), file) for file in files]
    return frozenset(name for content in contents for name in getattr(content, section))


def shipped_tracks() -> list[str]:
    """Names of the tracks that come with the project."""
    return sorted(path.stem for path in (WORKFLOW / "tracks").glob("*.yaml"))


def track_mapping(file: Path) -> Any:
    """What a track file says, laid over the shipped track that it ``extends``, if any.

    Name, title and data are always its own, so no role starts from a split of the other data; a
    role that it states replaces the other whole. With a scale of its own, only its own
    ``train_short_sides`` hold. A detector, backbone or method that is null is left out.
    """
    content = read_yaml(file, "track")
    if not isinstance(content, dict) or "extends" not in content:
        return content
    content = dict(content)
    name = content.pop("extends")
    if name not in shipped_tracks():
        expected = f"one of {shipped_tracks()}"
        raise InputError(file, "extends", f"{name!r} is not a shipped track", expected)
    base = _inherited(track_mapping(WORKFLOW / f"tracks/{name}.yaml"), content)
    _require_known_null(base, content, file)
    if isinstance(content.get("recipe"), dict):
        base["recipe"] = merge_recipes(base["recipe"], content["recipe"])
    return _without_null(merge(base, content))


def _require_known_null(base: Mapping[str, Any], content: Mapping[str, Any], file: Path) -> None:
    """Raise InputError if a track leaves out an entry that it would not take over anyway."""
    for section in SECTIONS:
        entries = content.get(section)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            if entry is None and name not in base[section]:
                problem = "is null, which leaves out an entry, but there is none of this name"
                expected = f"one of {sorted(base[section])}"
                raise InputError(file, f"{section}.{name}", problem, expected)


def _inherited(base: dict[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """What a track takes over from the content of the one that it extends."""
    images, own = content.get("images"), content.get("roles")
    base = {key: value for key, value in base.items() if key not in ("name", "title", "data")}
    if isinstance(images, dict) and "scale" in images:
        base["images"].pop("train_short_sides", None)
    for role in own if isinstance(own, dict) else ():
        base["roles"].pop(role, None)
    for role in base["roles"].values():
        role.pop("pretrained", None)
    return base


def _without_null(content: dict[str, Any]) -> dict[str, Any]:
    """Without the entries of sections that are null: those that a track does not take over."""
    for section in SECTIONS:
        if isinstance(entries := content.get(section), dict):
            content[section] = {k: value for k, value in entries.items() if value is not None}
    return content


def _data_root(file: Path, content: TrackContent, config: Mapping[str, Any]) -> Path:
    data = content.data
    if not isinstance(data, OwnData):
        # The folder's name contains a hash of the parameters, so other images get another folder.
        return Path("data", f"{content.name}-{content_hash(data.generated.stated())}")
    try:
        return Path(Template(data.root).substitute(config)).expanduser()
    except KeyError as error:
        name = error.args[0]
        expected = f"--config {name}=FOLDER (of snakemake) or --data FOLDER (of icd)"
        raise InputError(file, "data.root", f"${name} is not set", expected) from error
    except ValueError as error:
        problem, expected = f"is {data.root!r}", "a name after each $, or $$ for the character"
        raise InputError(file, "data.root", problem, expected) from error
