"""How a detector is trained: optimiser, batch, learning-rate schedule, precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from icd.experiments.base import Model

ScheduleName = Annotated[
    str,
    Field(
        pattern=r"^(?=.*[1-9])[0-9]+(\.[0-9]+)?x$",
        description="positive multiple of the recipe's unit, e.g. 1x or 3x",
    ),
]
Setting = bool | int | float | list[bool | int | float]
Fraction = Annotated[float, Field(gt=0, lt=1, description="a fraction of the schedule")]
Decay = Annotated[
    Literal["cosine"] | list[Fraction],
    Field(description="cosine, or the fractions of the schedule at which the rate falls by 10"),
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

    @property
    def arguments(self) -> dict[str, Any]:
        """Further arguments of the torch.optim class."""
        return dict(self.model_extra or {})


class Recipe(Model):
    """how a detector is trained"""

    unit: int = Field(ge=1, description="iterations of a 1x schedule")
    batch_size: int = Field(ge=1, description="images per iteration over all devices")
    optimizer: Optimizer
    reference_batch: int | None = Field(
        None, ge=1, description="batch size the learning rate is meant for; others scale it"
    )
    decay: Decay
    ramp: int = Field(0, ge=0, description="iterations of linear learning-rate warm-up")
    channels_last: bool = Field(False, description="lay images out with channels last")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the networks in training; float32 is the default"
    )

    @property
    def linear_factor(self) -> float:
        """Of the student's learning rate: in proportion to the batch (Goyal et al., 2017).

        1 without ``reference_batch``. The method's own rate is never scaled.
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
    """type, lr, clip and further arguments of a torch.optim class, as far as they differ"""

    type: str | None = Field(None, description="name of a torch.optim class")  # type: ignore[assignment]
    lr: float | None = Field(None, gt=0, description="learning rate")  # type: ignore[assignment]


def _optional(field: FieldInfo) -> tuple[Any, Any]:
    """The same field, which need not be stated."""
    kind: Any = OptimizerChange if field.annotation is Optimizer else field.annotation
    for bound in field.metadata:
        kind = Annotated[kind, bound]
    return kind | None, Field(None, description=field.description)


if TYPE_CHECKING:
    RecipeChange = TrackRecipe
else:
    RecipeChange = create_model(
        "RecipeChange",
        __base__=Model,
        __doc__="keys of a recipe that differ from the track's",
        **{name: _optional(field) for name, field in TrackRecipe.model_fields.items()},
    )
