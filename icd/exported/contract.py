"""What an exported model states about itself: what it takes, and what its outputs mean.

The contract stands in the model's metadata, one entry of JSON per field, so whoever has the file
needs no other. Imports nothing slow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field

from icd.experiments.base import Model, validate

Precision = Literal["float32", "float16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)  # the first is the default


class Resize(Model):
    """How an image is resized: by one factor for both sides, so that neither limit is exceeded."""

    longest: int = Field(description="limit of the longer side in pixels")
    shortest: int = Field(description="limit of the shorter side in pixels")
    interpolation: Literal["bilinear"] = "bilinear"


class Pixels(Model):
    """How a resized image becomes an input, after its channels are in order."""

    channels: Literal["RGB", "BGR"]
    mean: list[float] = Field(description="is subtracted, by channel")
    std: list[float] = Field(description="divides the difference, by channel")
    pad_value: float = Field(description="fills up at the right and at the bottom, after that")
    pad_divisor: int = Field(description="height and width are padded to multiples of it")


class Suppression(Model):
    """Non-maximum suppression."""

    in_graph: bool = Field(description="false: whoever runs the model has to do it")
    iou_threshold: float
    class_agnostic: bool = Field(description="whether boxes of different classes compete")
    detections: int = Field(description="how many of an image are kept at most, the best")


class Contract(Model):
    """All that is needed to run a model.

    inputs, outputs: by name, type, shape and meaning.
    batch: images in a batch; None: any number.
    size: [height, width] of the padded images; None: any multiples of ``pixels.pad_divisor``.
    mask_threshold: probability from which a pixel belongs to an object; None without masks.
    """

    icd: str = Field(description="version of ICD-bench")
    run: str = Field(description="name of the run")
    checkpoint_sha256: str = Field(description="of the run's model.pth")
    precision: Precision
    classes: list[str] = Field(description="names of the labels, from 0")
    resize: Resize
    pixels: Pixels
    batch: int | None
    size: list[int] | None
    suppression: Suppression
    mask_threshold: float | None
    inputs: dict[str, str]
    outputs: dict[str, str]

    def metadata(self) -> dict[str, str]:
        """The entries of a model's metadata."""
        return {key: json.dumps(value) for key, value in self.model_dump(mode="json").items()}


def read_contract(metadata: Mapping[str, str], file: Path) -> Contract:
    """The contract in a model's metadata.

    Raises:
        InputError: there is none.
    """
    known = {key: metadata[key] for key in Contract.model_fields if key in metadata}
    return validate(Contract, {key: json.loads(text) for key, text in known.items()}, file)
