"""The recipe of a training: optimiser, batch, learning-rate schedule, precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from icd.experiments.base import Model
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
Decay = Annotated[
    Literal["cosine"] | list[Fraction],
    Field(
        description="cosine, or the fractions of the schedule at which the rate is divided by 10"
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
        description="cosine, a list of fractions, or one of these for each schedule by its name"
    )


class OptimizerChange(Optimizer):
    """the keys of an optimizer that differ: type, lr, clip, arguments of a torch.optim class"""

    type: str = Field("", description="name of a torch.optim class")
    lr: float = Field(1.0, gt=0, description="learning rate")


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
