"""What an ablation file states."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from icd.errors import InputError
from icd.experiments.base import Model
from icd.experiments.change import Change

IouType = Literal["bbox", "segm"]
RowId = Annotated[str, Field(description="the id of a row")]
Text = Annotated[str, Field(description="a text")]


class Published(Model):
    """AP in the paper and its source."""

    AP: float = Field(description="in percent")
    source: str = Field(description="where it stands")
    comparable: Literal[False] | None = Field(
        None,
        description=(
            "false: another recipe than that of the other rows, so it counts in no comparison of "
            "orders"
        ),
    )


class TrackRow(Model):
    """label, change (laid over the row's) or absent (why there is no such row)"""

    label: Text | None = None
    change: Change | None = None
    absent: str | None = Field(None, min_length=1, description="why the track cannot have the row")

    @model_validator(mode="after")
    def _say_something(self) -> TrackRow:
        if not self.model_fields_set:
            raise ValueError("says nothing")
        return self


class RowContent(Model):
    """A row of a table."""

    id: str = Field(
        pattern="^[a-z0-9_]+$", description="a short name of small letters, digits and _"
    )
    label: Text
    change: Change | None = Field(None, description="what the row changes of the track's student")
    baseline: RowId | None = Field(
        None, description="the id of the row this one's gain is measured against"
    )
    reference: RowId | None = Field(
        None,
        description="the id of the row this one is compared with besides, if not the table's",
    )
    x: float | None = Field(None, description="its place on the axis of the figure")
    tracks: dict[str, TrackRow] = Field(
        default_factory=dict,
        description="where tracks differ, by their name: label, change or absent",
    )
    published: Published | None = None


class Axis(Model):
    """label and scale (linear or log) of the axis against which AP is drawn"""

    label: Text
    scale: Literal["linear", "log"] = Field("linear", description="of the axis")


Rows = Annotated[list[RowId], Field(min_length=1)]


class FigureRows(Model):
    """The rows that each figure of what the runs do shows."""

    attention: Rows | None = Field(
        None, max_length=1, description="one row: where its decoder looks"
    )
    detections: Rows | None = Field(None, description="rows: their detections side by side")
    curves: Rows | None = Field(None, description="rows: their losses and AP over the training")
    errors: Rows | None = Field(None, description="rows: their errors by type")

    def by_name(self) -> dict[str, tuple[str, ...]]:
        """Ids of the rows by the figure that shows them."""
        return {name: tuple(rows) for name, rows in self if rows}


class AblationContent(Model):
    """An ablation (title, question, baseline and rows, as in ablations)."""

    title: Text
    question: Text
    baseline: RowId = Field(description="the id of the row that gains are measured against")
    iou_type: IouType = Field("bbox", description="AP of boxes (bbox) or of masks (segm)")
    split: Literal["test", "tune"] = Field("test", description="whose images AP is measured on")
    only: list[str] | None = Field(
        None, min_length=1, description="names of the tracks that have this table; else all have it"
    )
    reference: RowId | None = Field(
        None, description="the id of a row that all others are compared with besides"
    )
    published_for: str | None = Field(
        None,
        description=(
            "the detector of the published values of rows that name none, which do not stand "
            "beside another"
        ),
    )
    notes: str = Field("", description="text printed below the table")
    findings: dict[str, str] = Field(
        default_factory=dict,
        description="what came out, by the name of the track; text printed below the table",
    )
    costs: bool = Field(
        False, description="show what a step costs with each row's method, as far as measured"
    )
    seeds: int | None = Field(
        None, ge=1, description="how many of the track's seeds the table takes; else all"
    )
    axis: Axis | None = Field(None, description="draws AP against the rows' x")
    figures: FigureRows = FigureRows()
    base: Change | None = Field(None, description="what all rows share")
    rows: list[RowContent] = Field(min_length=1, description="the rows of the table; at least one")

    def require_consistent(self, file: Path) -> None:
        """Raise InputError unless all that name a row name one, and an axis has places on it."""
        ids = [row.id for row in self.rows]
        for name in ids:
            if ids.count(name) > 1:
                raise InputError(file, "rows", f"two rows have the id {name!r}", "different ids")
        for key, name in self._named_rows():
            if name not in ids:
                raise InputError(file, key, f"{name!r} is not a row", f"one of {ids}")
        self._require_places(file)

    def _named_rows(self) -> Iterator[tuple[str, str]]:
        """Where a row is named, and its id."""
        for place, row in (("", self), *((f"rows.{i}.", row) for i, row in enumerate(self.rows))):
            for key in ("baseline", "reference"):
                if name := getattr(row, key):
                    yield f"{place}{key}", name
        for figure, rows in self.figures.by_name().items():
            yield from ((f"figures.{figure}.{i}", name) for i, name in enumerate(rows))

    def _require_places(self, file: Path) -> None:
        if self.axis is None:
            return
        places: dict[str, Any] = {f"rows.{i}.x": row.x for i, row in enumerate(self.rows)}
        places = {key: x for key, x in places.items() if x is not None}
        if not places:
            raise InputError(file, "axis", "no row has a place on it", "x in some of the rows")
        for key, place in places.items():
            if self.axis.scale == "log" and place <= 0:
                expected = "a number above 0, because axis.scale is log"
                raise InputError(file, key, f"is {place:g}", expected)
