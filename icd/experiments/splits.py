"""The images of a track and of a run: where they come from, and how they are resized."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from icd.data import GENERATOR_VERSION
from icd.experiments.base import Model

TRAIN, TUNE, TEST = "train", "tune", "test"

Pixels = Annotated[int, Field(ge=16, description="of pixels")]
Images = Annotated[int, Field(ge=1, description="of images")]
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
        description="shortest sides, one of which is drawn per training image (multi-scale)",
    )
    flips: list[Flip] = Field(description="directions, of which one or none is drawn per image")


class Split(Model):
    """Annotations (a COCO JSON file) and images (a folder), relative to root."""

    annotations: str = Field(description="path of a COCO JSON file relative to root")
    images: str = Field(description="path of the image folder relative to root")


class _Splits(Model):
    """Splits by name, among them train and test."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="after")
    def _require_plain_names(self) -> Any:
        for name in self.model_extra or {}:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
                raise ValueError(f"{name!r} is not a plain name")
        return self

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    @property
    def names(self) -> list[str]:
        """Names of the splits, as the file has them."""
        return list(self.stated())


class SplitSizes(_Splits):
    """Number of images of each split; train and test are required."""

    __pydantic_extra__: dict[str, Images]
    train: Images
    test: Images


class SplitFiles(_Splits):
    """Annotation file and image folder of each split; train and test are required."""

    __pydantic_extra__: dict[str, Split]
    train: Split
    test: Split


class Synthetic(Model):
    """Seed and image size of the generated data."""

    seed: int = Field(ge=0, description="of all images")
    image_size: int = Field(ge=64, description="side in pixels")


class SyntheticData(Model):
    """Data that the pipeline makes."""

    made: ClassVar[bool] = True
    synthetic: Synthetic
    splits: SplitSizes

    def split(self, name: str) -> Split:
        """Where a split lies: its name says how many images it has."""
        stem = f"{name}-{self.splits[name]}"
        return Split(annotations=f"{stem}.json", images=stem)

    @property
    def generated(self) -> Generated:
        """What its pixels depend on."""
        return Generated(**self.synthetic.stated(), generator=GENERATOR_VERSION)


class OwnData(Model):
    """COCO-format data that is there already."""

    made: ClassVar[bool] = False
    root: str = Field(description="folder of the data; $NAME is taken from --config NAME=FOLDER")
    splits: SplitFiles

    def split(self, name: str) -> Split:
        """Where a split lies, relative to the root."""
        found: Split = self.splits[name]
        return found

    @property
    def generated(self) -> None:
        """Nothing: the pixels are given."""
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
        description="either synthetic (data made by the pipeline) or root and splits (COCO format)"
    ),
]


class Generated(Synthetic):
    """What the pixels of generated data depend on."""

    generator: int = Field(description="version of the generator")
