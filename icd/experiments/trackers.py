"""The experiment trackers that a user can choose, and what they need. None is imported here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from icd.errors import InputError

Tracker = Literal["tensorboard", "wandb", "mlflow"]
TRACKERS: tuple[Tracker, ...] = get_args(Tracker)
NONE = "none"  # on the command line: do without the track's trackers
# alembic lays out the database that MLflow keeps its numbers in.
MODULES = {"tensorboard": ["tensorboard"], "wandb": ["wandb"], "mlflow": ["mlflow", "alembic"]}


@dataclass(frozen=True)
class Tracking:
    """What follows a run.

    trackers: their names.
    tables: names of the tables that show the run.
    """

    trackers: Sequence[str] = ()
    tables: Sequence[str] = ()


NO_TRACKING = Tracking()


def chosen(given: Any, of_track: list[Tracker]) -> list[Tracker]:
    """The trackers of ``--config tracking=...``, a text or a list, or else those of the track.

    Raises:
        InputError: one of them is unknown.
    """
    if given is None:
        return of_track
    names = given.split(",") if isinstance(given, str) else given
    if names == [NONE]:
        return []
    if not isinstance(names, list) or not {*names} <= {*TRACKERS}:
        expected = f"some of {', '.join(TRACKERS)}, e.g. tracking=tensorboard,wandb, or {NONE}"
        raise InputError("--config tracking", "", f"is {given!r}", expected)
    return [name for name in TRACKERS if name in names]


def require_installed(trackers: Iterable[str], where: str | Path) -> None:
    """Raise InputError if one of the trackers, which ``where`` asks for, is not installed."""
    for tracker in trackers:
        if not all(map(_is_installed, MODULES[tracker])):
            expected = f"pip install -c constraints.txt -e '.[{tracker}]', or no such tracker"
            raise InputError(where, "tracking", f"{tracker} is not installed", expected)


def _is_installed(module: str) -> bool:
    """True if a package can be imported; a folder of its name, such as its data, does not count."""
    spec = find_spec(module)
    return spec is not None and spec.origin is not None
