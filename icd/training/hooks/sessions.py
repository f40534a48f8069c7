"""Who contributed which iterations of a training: its sessions, because it may stop and resume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from icd.mappings import differences

Session = dict[str, Any]  # "iterations": [done before, done after], and its environment
SHOWN = 10  # changes that the log names
NAMED = ("iterations", "time", "git", "changed")  # what a manifest says of every session


class SessionsHook(Hook):
    """Stores in every checkpoint the sessions that its weights come from.

    Iterations that a killed process did after its last checkpoint are lost, and so are not listed.

    Args:
        environment: time, code, versions and hardware of this process, see
            :func:`icd.training.manifest.environment`.
        settings: the resolved config of the training, as plain data.
    """

    def __init__(self, environment: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        self.environment, self.settings = environment, settings
        self.earlier: list[Session] = []
        self.start = self.end = 0
        self.changes: list[str] = []

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare code and settings with those of the last session; the Runner calls it."""
        meta = checkpoint["meta"]
        self.start = self.end = meta["iter"]
        # Checkpoints of version 0.1.0 do not say who made them.
        unknown = {"iterations": [0, self.start], "time": None, "git": None}
        self.earlier = meta.get("sessions", [unknown])
        if self.start >= runner.max_iters:
            runner.logger.info("all iterations were done before: only the files are written anew")
            return
        if "settings" in meta:
            before = comparable(self.earlier[-1]) | {"settings": meta["settings"]}
            now = comparable(self.environment) | {"settings": self.settings}
            found = differences(before, now)
            self.changes = list(found)
            if found:
                runner.logger.warning(f"resumed under changed code or settings: {in_words(found)}")

    def after_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        """Count; the Runner calls it before a checkpoint is written."""
        self.end = runner.iter + 1

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Called by the Runner."""
        checkpoint["meta"] |= {"sessions": self.sessions(), "settings": dict(self.settings)}

    def sessions(self) -> list[Session]:
        """All sessions that contributed iterations, in order."""
        if self.end == self.start:
            return self.earlier
        changed = {"changed": self.changes} if self.changes else {}
        return [
            *self.earlier,
            {"iterations": [self.start, self.end], **self.environment, **changed},
        ]


def comparable(session: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a session that say under which code and hardware it ran."""
    return {
        key: value for key, value in session.items() if key not in ("iterations", "time", "changed")
    }


def in_words(found: Mapping[str, tuple[Any, Any]]) -> str:
    """Changed values by dotted key, the first few."""
    named = [f"{key} from {old!r} to {new!r}" for key, (old, new) in found.items()]
    rest = f"; and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
    return "; ".join(named[:SHOWN]) + rest


def provenance(sessions: Sequence[Session], environment: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says about the origin of trained weights.

    Args:
        sessions: those that contributed; none for weights that were not trained here.
        environment: of the process that writes the manifest.

    Returns:
        The environment of the last session. ``sessions`` lists all with their iterations, time and
        commit, and where they differ from the last one in other respects, these too. ``exported``
        says when and by which code the files were written, unless the last session did that.
    """
    if not sessions:
        return dict(environment)
    last = {
        key: value for key, value in sessions[-1].items() if key not in ("iterations", "changed")
    }
    listed = [
        {key: value for key, value in session.items() if key in NAMED or value != last.get(key)}
        for session in sessions
    ]
    exported = {key: environment.get(key) for key in ("time", "git")}
    by_another = {} if last.get("time") == environment.get("time") else {"exported": exported}
    return {**last, "sessions": listed, **by_another}
