"""An entry of a tracker: what it shows as one run. A run has one, and so has a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from icd.experiments.run import Run
from icd.files import read_json, write_json


@dataclass(frozen=True)
class Entry:
    """What trackers are told about a run or a table.

    name: the run's id, or that of a table.
    project: entries that are compared with each other.
    tags: names and values to search for.
    tables: names of the tables that the run belongs to.
    parameters: nested plain data that describes the run.
    folder: where trackers put what they write on this machine.
    state: file of the ids that trackers gave to the entry, by which a later session continues it.
    """

    name: str
    project: str
    tags: dict[str, str]
    tables: list[str]
    parameters: dict[str, Any]
    folder: str
    state: str

    def known(self, tracker: str) -> str | None:
        """The id that a tracker gave to this entry before; None for a new entry."""
        return self._ids().get(tracker)

    def remember(self, tracker: str, identity: str) -> None:
        """Keep the id that a tracker gave to this entry."""
        write_json(Path(self.state), self._ids() | {tracker: identity})

    def _ids(self) -> dict[str, str]:
        file = Path(self.state)
        return read_json(file, "the ids of trackers") if file.exists() else {}

    @cached_property
    def words(self) -> list[str]:
        """Tags for a tracker whose tags have no values: the track and the tables."""
        return [self.tags["track"], *self.tables]


def of_run(run: Run, tables: Sequence[str]) -> Entry:
    """The entry of a run that these tables show.

    It belongs to the run's checkpoints: a training that starts from scratch has another.
    """
    summary = {key: str(value) for key, value in run.summary.items() if value is not None}
    return Entry(
        name=run.id,
        project=_project(run.track),
        tags=summary | {"run": run.id, "tables": ",".join(tables)},
        tables=list(tables),
        parameters=_parameters(run),
        folder=_folder(run.track),
        state=str(run.folder / "work" / "tracking.json"),
    )


def of_table(track: str, name: str, question: str) -> Entry:
    """The entry of a table, which holds its figures."""
    folder = _folder(track)
    return Entry(
        name=f"table-{name}",
        project=_project(track),
        tags={"track": track, "table": name},
        tables=[name],
        parameters={"question": question},
        folder=folder,
        state=str(Path(folder, "tables", f"{name}.json")),
    )


def _project(track: str) -> str:
    return f"icd-bench-{track}"


def _folder(track: str) -> str:
    return str(Path("results", track, "tracking").absolute())


def _parameters(run: Run) -> dict[str, Any]:
    """A run's description with other runs by their ids, and without the files of the data."""
    description = {key: value for key, value in run.description.items() if key != "files"}
    return description | {role: source.id for role, source in run.sources_by_role.items()}
