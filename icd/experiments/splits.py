"""The images of a track and of a run: their source and how they are resized."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NoReturn

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from icd.data import GENERATOR_VERSION
from icd.data.natural_spec import NaturalSpec
from icd.experiments.base import DIFFERENT, Model
from icd.mappings import content_hash

NATURAL = NaturalSpec()
MADE = Path("data")  # annotation files that the pipeline makes, relative to the project

TRAIN, TUNE, TEST = "train", "tune", "test"
RESERVED = ("work", "steps")  # folders of a run, beside those of its detections by split

Pixels = Annotated[int, Field(ge=16, description="a number of pixels")]
Images = Annotated[int, Field(ge=1, description="a number of images")]
Flip = Literal["horizontal", "vertical", "diagonal"]


class Resizing(Model):
    """How images are resized and flipped."""

    scale: list[Pixels] = Field(
        min_length=2,
        max_length=2,
        description="[longest side, shortest side] in pixels, aspect ratio kept",
    )
    train_short_sides: list[Pixels] | None = Field(
        None,
        min_length=1,
        description="shortest sides; each training image draws one of them (multi-scale)",
    )
    flips: list[Flip] = Field(
        description="directions; each training image draws one of them or none"
    )

    @model_validator(mode="after")
    def _require_agreeing_sides(self) -> Resizing:
        longest, shortest = self.scale
        if longest < shortest:
            _refuse("scale", self.scale, "[longest side, shortest side]")
        sides = self.train_short_sides
        if sides and max(sides) > longest:
            _refuse("train_short_sides", sides, f"none above the longest side of scale, {longest}")
        if sides and not min(sides) <= shortest <= max(sides):
            expected = f"sides around {shortest}, the shortest side of scale, as images are tested"
            _refuse("train_short_sides", sides, expected)
        return self

    @property
    def test_scale(self) -> tuple[int, int]:
        """Longest and shortest side of a test image."""
        longest, shortest = self.scale
        return longest, shortest

    @property
    def train_scales(self) -> list[tuple[int, int]]:
        """Longest and shortest side of a training image, which draws one of them."""
        longest, shortest = self.scale
        return [(longest, side) for side in self.train_short_sides or [shortest]]


def _refuse(key: str, value: Any, expected: str) -> NoReturn:
    """Raise the error of a value that contradicts another."""
    context = {"key": key, "value": value, "expected": expected}
    raise PydanticCustomError("requires", "{key}", context)


class Subset(Model):
    """A part of the images, drawn by a seed."""

    fraction: float = Field(gt=0, lt=1, description="the share of the images that is kept")
    seed: int = Field(ge=0, description="seed of the choice; see icd/data/subset.py")
    # Only a check. It is no part of a run, so stating it later renames nothing.
    sha256: str | None = Field(
        None,
        exclude=True,
        pattern="^[0-9a-f]{64}$",
        description="sha256 that the subset must have (info.made.sha256 in its file)",
    )


ImageSet = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$",
        description="folder and list of images, e.g. VOC2007/trainval",
    ),
]


class Split(Model):
    """Annotations (a COCO JSON file) and images (a folder), relative to root."""

    annotations: str = Field(
        description=(
            "path of a COCO JSON file relative to root; with voc, a name for the file to make"
        )
    )
    images: str = Field(description="path of the image folder relative to root")
    subset: Subset | None = Field(None, description="keeps a part of the images")
    voc: Annotated[list[ImageSet], *DIFFERENT] | None = Field(
        None,
        min_length=1,
        description="image sets of PASCAL VOC in root, whose XML is converted; images must be .",
    )
    skip_broken: Literal[True] | None = Field(
        None, description="true leaves out images that cannot be read, and reports them"
    )

    @model_validator(mode="after")
    def _require_fitting_images(self) -> Split:
        if self.voc and self.images != ".":
            expected = "., because converted annotations name files relative to root"
            context = {"key": "images", "value": self.images, "expected": expected}
            raise PydanticCustomError("requires", "{key}", context)
        return self

    @property
    def made(self) -> bool:
        """Whether the pipeline makes the annotation file."""
        return bool(self.subset or self.voc or self.skip_broken)

    def annotation_file(self, root: Path) -> Path:
        """The annotation file; one that the pipeline makes never lies in the user's folder.

        Args:
            root: root folder of the data, which is part of the name of such a file.
        """
        if not self.made:
            return root / self.annotations
        drawn = self.subset and [self.subset.fraction, self.subset.seed]
        how = [str(root), self.annotations, drawn, self.voc]
        how += ["skip_broken", self.images] if self.skip_broken else []
        return MADE / f"{Path(self.annotations).stem}-{content_hash(how)}.json"

    def file_beside(self, root: Path) -> str:
        """The annotation file as mmdet takes it: relative to root, absolute if it is elsewhere."""
        return str(self.annotation_file(root).absolute()) if self.made else self.annotations

    def sources(self, root: Path) -> list[Path]:
        """The user's files that the annotation file is, or is made from."""
        if self.voc:
            sets = (name.split("/") for name in self.voc)
            return [root / folder / "ImageSets/Main" / f"{part}.txt" for folder, part in sets]
        return [root / self.annotations]


class _Splits(Model):
    """Splits by name; train and test are required."""

    train: Any
    test: Any

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="after")
    def _require_plain_names(self) -> Any:
        for name in self.model_extra or {}:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
                _refuse(name, name, "a name of letters, digits, - and _")
            if name in RESERVED:
                _refuse(name, name, "another name, because runs have a folder of this one")
        return self

    def __getitem__(self, name: str) -> Any:
        return (self.model_extra or {}).get(name) or {"train": self.train, "test": self.test}[name]

    @property
    def names(self) -> list[str]:
        """Names of the splits, in the order of the file."""
        return list(self.stated())


class SplitSizes(_Splits):
    """Number of images of each split; train and test are required."""

    __pydantic_extra__: dict[str, Images]
    train: Images
    test: Images


class FilesBySplit(_Splits):
    """Annotation file and image folder of each split; train and test are required."""

    __pydantic_extra__: dict[str, Split]
    train: Split
    test: Split


Numbers = Annotated[
    list[Annotated[int, Field(ge=0)]],
    Field(min_length=2, max_length=2, description="smallest and largest number per image"),
]


class NaturalScenes(Model):
    """Scenes whose objects are as many and as small as in photographs, among look-alikes."""

    classes: int = Field(NATURAL.classes, ge=1, le=16, description="number of classes")
    objects: float = Field(
        NATURAL.objects,
        ge=1,
        description="mean number of objects per image (geometric); hidden ones are taken out",
    )
    most_objects: int = Field(NATURAL.most_objects, ge=1, description="at most so many objects")
    median_size: float = Field(
        NATURAL.median_size,
        gt=0,
        lt=1,
        description="median of the objects' relative size, the root of their share of the image",
    )
    size_spread: float = Field(
        NATURAL.size_spread,
        ge=0,
        description="standard deviation of the logarithm of the relative size (log-normal)",
    )
    patches: Numbers = Field([*NATURAL.patches], description="large regions of the background")
    distractors: Numbers = Field([*NATURAL.distractors], description="blobs and bars")
    scribbles: Numbers = Field([*NATURAL.scribbles], description="bent lines")
    look_alikes: Numbers = Field(
        [*NATURAL.look_alikes], description="outlines of classes, stretched as no object is"
    )
    contrast: int = Field(
        NATURAL.contrast,
        ge=0,
        le=441,
        description="least RGB distance between the colour of a region and what it covers",
    )
    tone: int = Field(
        NATURAL.tone,
        ge=0,
        le=255,
        description="largest change of a colour channel made by the texture of a region",
    )

    @model_validator(mode="after")
    def _require_ranges(self) -> NaturalScenes:
        for key in ("patches", "distractors", "scribbles", "look_alikes"):
            low, high = getattr(self, key)
            if low > high:
                _refuse(key, [low, high], "[smallest, largest]")
        return self


class Synthetic(Model):
    """What the generated data hold."""

    seed: int = Field(ge=0, description="seed of all images")
    image_size: int = Field(ge=64, description="side of each image in pixels")
    classes: int | None = Field(
        None, ge=1, le=8, description="number of classes of plain scenes (default: 8)"
    )
    natural: NaturalScenes | None = Field(
        None, description="scenes with the statistics of photographs, instead of plain ones"
    )

    @model_validator(mode="after")
    def _require_one_number_of_classes(self) -> Synthetic:
        if self.natural is not None and self.classes is not None:
            _refuse("classes", self.classes, "natural.classes, which natural scenes have")
        return self


class SyntheticData(Model):
    """Data that the pipeline generates."""

    made: ClassVar[bool] = True
    synthetic: Synthetic
    splits: SplitSizes

    def split(self, name: str) -> Split:
        """Files of a split, relative to the root; their names state the number of images."""
        stem = f"{name}-{self.splits[name]}"
        return Split(annotations=f"{stem}.json", images=stem)

    @property
    def generated(self) -> Generated:
        """The parameters that determine the pixels."""
        return Generated(**self.synthetic.stated(), generator=GENERATOR_VERSION)


class OwnData(Model):
    """Your own data in COCO format."""

    made: ClassVar[bool] = False
    root: str = Field(description="folder of the data; --config NAME=FOLDER replaces $NAME")
    splits: FilesBySplit

    def split(self, name: str) -> Split:
        """Files of a split, relative to the root."""
        files: Split = self.splits[name]
        return files

    @property
    def generated(self) -> None:
        """None, because the pipeline does not generate the pixels."""
        return None


def _kind_of_data(content: Any) -> str | None:
    if isinstance(content, Mapping):
        return "<synthetic>" if "synthetic" in content else "<own>"
    if isinstance(content, SyntheticData):
        return "<synthetic>"
    return "<own>" if isinstance(content, OwnData) else None


Data = Annotated[
    Annotated[SyntheticData, Tag("<synthetic>")] | Annotated[OwnData, Tag("<own>")],
    Discriminator(_kind_of_data),
    Field(
        description="either synthetic (generated by the pipeline) or root and splits (COCO format)"
    ),
]


class Generated(Synthetic):
    """The parameters that determine the pixels of generated data."""

    generator: int = Field(description="version of the generator")
