"""The recipe of a training: optimiser, batch, learning-rate schedule, precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, create_model, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from icd.experiments.base import Model
from icd.experiments.optimizers import optimizers
from icd.mappings import merge

ScheduleName = Annotated[
    str,
    Field(
        pattern=r"^([1-9][0-9]*(\.[0-9]+)?|0\.[0-9]*[1-9][0-9]*)x$",
        description="positive multiple of the recipe's unit, e.g. 1x or 3x",
    ),
]
Precision = Literal["float32", "bfloat16"]
Setting = bool | int | float | list[bool | int | float]
Fraction = Annotated[float, Field(gt=0, lt=1, description="a fraction of the schedule")]


def _require_rising(fractions: list[float]) -> list[float]:
    if fractions != sorted(set(fractions)):
        raise ValueError("not rising")
    return fractions


Drops = Annotated[list[Fraction], Field(min_length=1), AfterValidator(_require_rising)]
Decay = Annotated[
    Literal["cosine"] | Drops,
    Field(
        description=(
            "cosine, or the rising fractions of the schedule at which the rate is divided by 10"
        )
    ),
]


class Optimizer(Model):
    """type, lr, clip and further arguments of a torch.optim class"""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Setting] = Field(
        description="a number, a list of numbers, true or false"
    )

    type: str = Field(description="name of a torch.optim class")
    lr: float = Field(gt=0, description="learning rate")
    clip: float | None = Field(None, gt=0, description="largest gradient norm")
    clip_value: float | None = Field(
        None,
        gt=0,
        description="largest magnitude of each element of a gradient; applied before clip",
    )
    norm_decay_mult: float | None = Field(
        None, ge=0, description="factor of weight_decay for the weights and biases of norm layers"
    )
    lr_mult: dict[str, Annotated[float, Field(ge=0)]] | None = Field(
        None,
        min_length=1,
        description="factors of the learning rate, each for the parameters whose names contain a "
        "word, e.g. {backbone: 0.1}; of several words, the longest counts",
    )

    @model_validator(mode="after")
    def _require_known(self) -> Optimizer:
        """The class and its arguments exist; a change without a type is checked once merged."""
        if not self.type:
            return self
        if self.type not in optimizers():
            expected = f"one of {list(optimizers())}, classes of torch.optim"
            context = {"key": "type", "value": self.type, "expected": expected}
            raise PydanticCustomError("requires", "{key}", context)
        known = optimizers()[self.type]
        for name in sorted(self.arguments.keys() - known):
            expected = f"an argument of torch.optim.{self.type}: {sorted(known)}"
            context = {"key": name, "value": self.arguments[name], "expected": expected}
            raise PydanticCustomError("requires", "{key}", context)
        return self

    @model_validator(mode="after")
    def _require_weight_decay(self) -> Optimizer:
        if self.norm_decay_mult is not None and "weight_decay" not in self.arguments:
            expected = "a number, because norm_decay_mult is a factor of it"
            context = {"key": "weight_decay", "value": None, "expected": expected}
            raise PydanticCustomError("requires", "{key}", context)
        return self

    @property
    def arguments(self) -> dict[str, Any]:
        """Further arguments of the torch.optim class."""
        return dict(self.model_extra or {})


class Recipe(Model):
    """how a detector is trained"""

    unit: int = Field(ge=1, description="iterations of a 1x schedule")
    batch_size: int = Field(ge=1, description="images per iteration over all devices")
    accumulate: int = Field(
        1,
        ge=1,
        description="parts in which each device computes its images one after the other, to save "
        "memory",
    )
    optimizer: Optimizer
    reference_batch: int | None = Field(
        None, ge=1, description="batch size of the learning rate; other sizes scale it linearly"
    )
    decay: Decay
    ramp: int = Field(0, ge=0, description="iterations of linear learning-rate warm-up")
    group_by_aspect: bool = Field(
        False, description="no batch mixes portrait images with others, which saves padding"
    )
    channels_last: bool = Field(False, description="use the channels-last memory format")
    precision: Precision = Field(
        "float32", description="precision of the networks in training; default: float32"
    )
    tf32: bool = Field(
        False, description="on GPUs, let training compute float32 products in TF32, which is faster"
    )
    teacher_precision: Precision | None = Field(
        None,
        description=(
            "precision of the teacher while a student learns from it; bfloat16 also gives it the "
            "channels-last memory format; default: that of the student"
        ),
    )

    @property
    def linear_factor(self) -> float:
        """Linear scaling of the student's learning rate with the batch size (Goyal et al., 2017).

        1 without ``reference_batch``. The method's own learning rate is never scaled.
        """
        return self.batch_size / (self.reference_batch or self.batch_size)

    @property
    def rate(self) -> float:
        """The student's learning rate."""
        return self.optimizer.lr * self.linear_factor


class TrackRecipe(Recipe):
    """how a detector is trained; decay may differ between schedules"""

    decay: Decay | dict[ScheduleName, Decay] = Field(  # type: ignore[assignment]
        description="cosine, rising fractions, or one of these for each schedule by its name"
    )


class OptimizerChange(Optimizer):
    """the keys of an optimizer that differ: type, lr, clip, arguments of a torch.optim class"""

    type: str = Field("", description="name of a torch.optim class")
    lr: float = Field(1.0, gt=0, description="learning rate")

    @model_validator(mode="after")
    def _require_weight_decay(self) -> OptimizerChange:
        return self  # the recipe that it changes may have it


def _optional(field: FieldInfo) -> tuple[Any, Any]:
    """The same field, made optional."""
    annotation: Any = OptimizerChange if field.annotation is Optimizer else field.annotation
    for bound in field.metadata:
        annotation = Annotated[annotation, bound]
    return annotation, Field(None, description=field.description)


def merge_recipes(recipe: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """``change`` laid over a recipe. An optimizer of another type replaces the whole optimizer."""
    ours, theirs = recipe.get("optimizer", {}), change.get("optimizer", {})
    if isinstance(theirs, dict) and theirs.get("type", ours.get("type")) != ours.get("type"):
        recipe = {key: value for key, value in recipe.items() if key != "optimizer"}
    merged: dict[str, Any] = merge(recipe, change)
    return merged


if TYPE_CHECKING:
    RecipeChange = TrackRecipe
else:
    RecipeChange = create_model(
        "RecipeChange",
        __base__=Model,
        __doc__="keys of a recipe that differ from the track's",
        **{name: _optional(field) for name, field in TrackRecipe.model_fields.items()},
    )
