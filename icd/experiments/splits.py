"""The images of a track and of a run: their source and how they are resized."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from icd.data import GENERATOR_VERSION
from icd.experiments.base import Model

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
    def _require_long_side_first(self) -> Resizing:
        longest, shortest = self.scale
        if longest < shortest:
            expected = "[longest side, shortest side]"
            context = {"key": "scale", "value": self.scale, "expected": expected}
            raise PydanticCustomError("requires", "{key}", context)
        return self


class Split(Model):
    """Annotations (a COCO JSON file) and images (a folder), relative to root."""

    annotations: str = Field(description="path of a COCO JSON file relative to root")
    images: str = Field(description="path of the image folder relative to root")


class _Splits(Model):
    """Splits by name; train and test are required."""

    train: Any
    test: Any

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="after")
    def _require_plain_names(self) -> Any:
        for name in self.model_extra or {}:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
                expected = "a name of letters, digits, - and _"
                context = {"key": name, "value": name, "expected": expected}
                raise PydanticCustomError("requires", "{key}", context)
            if name in RESERVED:
                expected = "another name, because runs have a folder of this one"
                context = {"key": name, "value": name, "expected": expected}
                raise PydanticCustomError("requires", "{key}", context)
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


class Synthetic(Model):
    """Seed and image size of the generated data."""

    seed: int = Field(ge=0, description="seed of all images")
    image_size: int = Field(ge=64, description="side of each image in pixels")


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
