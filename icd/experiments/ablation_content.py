"""The content of an ablation file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from icd.errors import InputError
from icd.experiments.base import Model, Name
from icd.experiments.change import Change

IouType = Literal["bbox", "segm"]
RowId = Annotated[str, Field(description="the id of a row")]
Text = Annotated[str, Field(description="a text")]


class Published(Model):
    """AP in the paper and its source."""

    AP: float = Field(description="AP in percent")
    over: float | None = Field(
        None,
        description=(
            "AP of the student alone in the same source, for the published gain; default: the "
            "published AP of the row's baseline"
        ),
    )
    source: str = Field(description="the table or page that states it")
    comparable: Literal[False] | None = Field(
        None,
        description=(
            "false if the recipe differs from that of the other rows; comparisons of row orders "
            "then leave it out"
        ),
    )


class TrackRow(Model):
    """label, change (merged into the row's) or absent (why the track cannot have the row)"""

    label: Text | None = None
    change: Change | None = None
    absent: str | None = Field(None, min_length=1, description="why the track cannot have the row")

    @model_validator(mode="after")
    def _say_something(self) -> TrackRow:
        if not self.model_fields_set:
            raise ValueError("is empty")
        return self


class RowContent(Model):
    """A row of a table."""

    id: str = Field(
        pattern="^[a-z0-9_]+$", description="a short name of small letters, digits and _"
    )
    label: Text
    change: Change | None = Field(None, description="changes to the track's student")
    baseline: RowId | None = Field(
        None, description="the id of the row that this row's gain is measured against"
    )
    reference: RowId | None = Field(
        None,
        description="the id of a second row to compare this one with, if not the table's",
    )
    x: float | None = Field(None, description="position on the axis of the figure")
    tracks: dict[str, TrackRow] = Field(
        default_factory=dict,
        description=(
            "differences on single tracks, by track name: label, change or absent; they hold on "
            "tracks that extend that one, too"
        ),
    )
    published: Published | None = None


class Axis(Model):
    """label and scale (linear or log) of the horizontal axis of the figure"""

    label: Text
    scale: Literal["linear", "log"] = Field("linear", description="scale of the axis")


Rows = Annotated[list[RowId], Field(min_length=1)]


class FigureRows(Model):
    """The rows that each figure of the runs' behaviour shows."""

    attention: Rows | None = Field(
        None, max_length=1, description="one row: the attention of its decoder"
    )
    detections: Rows | None = Field(None, description="rows: their detections side by side")
    curves: Rows | None = Field(None, description="rows: their losses and AP during training")
    errors: Rows | None = Field(None, description="rows: their errors by type")

    def by_name(self) -> dict[str, tuple[str, ...]]:
        """Ids of the rows, by the name of the figure that shows them."""
        return {name: tuple(rows) for name, rows in self if rows}


class Comparison(Model):
    """A question that the difference of two rows answers."""

    question: Text = Field(description="the answer is yes if `row` has the higher AP")
    row: RowId = Field(description="the id of a row")
    over: RowId = Field(description="the id of the row that it is compared with")


class AblationContent(Model):
    """An ablation (title, question, baseline and rows, as in ablations)."""

    title: Text
    question: Text
    baseline: RowId = Field(description="the id of the row that gains are measured against")
    iou_type: IouType = Field("bbox", description="AP of boxes (bbox) or of masks (segm)")
    split: Name = Field(
        "test",
        description=(
            "the split on which AP is measured: test, another split of the track that no run is "
            "trained on, or tune, which stands for test on tracks without it"
        ),
    )
    only: list[str] | None = Field(
        None, min_length=1, description="names of the tracks that have this table; default: all"
    )
    reference: RowId | None = Field(
        None, description="the id of a second row that all others are compared with"
    )
    published_for: str | None = Field(
        None,
        description=(
            "the detector of the published values in rows that name no detector; tracks with "
            "another detector do not show these values"
        ),
    )
    notes: str = Field("", description="text printed below the table")
    findings: dict[str, str] = Field(
        default_factory=dict,
        description="results by track name; text printed below the table",
    )
    answers: list[Comparison] = Field(
        default_factory=list,
        description="questions that the results page opens with, each answered by two rows",
    )
    costs: bool = Field(
        False, description="show the cost of a step with each row's method, where measured"
    )
    diagnosis: bool = Field(
        False,
        description="show where the decoder of each row with ICD looks and what it has learnt",
    )
    deployment: bool = Field(
        False,
        description=(
            "show parameters, operations, milliseconds per image and megabytes of each row's "
            "detector"
        ),
    )
    seeds: int | None = Field(
        None, ge=1, description="how many of the track's seeds the table uses; default: all"
    )
    axis: Axis | None = Field(None, description="draws AP against the rows' x")
    figures: FigureRows = FigureRows()
    base: Change | None = Field(None, description="changes that all rows share")
    rows: list[RowContent] = Field(min_length=1, description="the rows of the table; at least one")

    def require_consistent(self, file: Path) -> None:
        """Raise InputError for repeated or unknown row ids, or an axis without positions."""
        ids = [row.id for row in self.rows]
        for name in ids:
            if ids.count(name) > 1:
                raise InputError(file, "rows", f"two rows have the id {name!r}", "different ids")
        for key, name in self._named_rows():
            if name not in ids:
                raise InputError(file, key, f"{name!r} is not a row", f"one of {ids}")
        self._require_places(file)

    def named_tracks(self) -> Iterator[tuple[str, str]]:
        """Each key that refers to a track, and the name that it gives."""
        yield from ((f"only.{i}", name) for i, name in enumerate(self.only or ()))
        yield from ((f"findings.{name}", name) for name in self.findings)
        for i, row in enumerate(self.rows):
            yield from ((f"rows.{i}.tracks.{name}", name) for name in row.tracks)

    def _named_rows(self) -> Iterator[tuple[str, str]]:
        """Each key that refers to a row, and the id that it gives."""
        for place, row in (("", self), *((f"rows.{i}.", row) for i, row in enumerate(self.rows))):
            for key in ("baseline", "reference"):
                if name := getattr(row, key):
                    yield f"{place}{key}", name
        for i, answer in enumerate(self.answers):
            yield f"answers.{i}.row", answer.row
            yield f"answers.{i}.over", answer.over
        for figure, rows in self.figures.by_name().items():
            yield from ((f"figures.{figure}.{i}", name) for i, name in enumerate(rows))

    def _require_places(self, file: Path) -> None:
        if self.axis is None:
            return
        places: dict[str, Any] = {f"rows.{i}.x": row.x for i, row in enumerate(self.rows)}
        places = {key: x for key, x in places.items() if x is not None}
        if not places:
            raise InputError(file, "axis", "no row has a position on it", "x in at least one row")
        for key, place in places.items():
            if self.axis.scale == "log" and place <= 0:
                expected = "a number above 0, because axis.scale is log"
                raise InputError(file, key, f"is {place:g}", expected)
